//! There is one driver.

use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Two assemblers of snapshots would be two opinions about what is known. Tests of the engine make theirs by
/// hand, in tests; `trial` knows of no object at all.
#[test]
fn only_the_driver_assembles_snapshots() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut assemblers = Vec::new();
    for name in std::fs::read_dir(crates).unwrap() {
        let name = name.unwrap().path();
        let mut files = Vec::new();
        let src = name.join("src");
        if src.is_dir() {
            sources(&src, &mut files);
        }
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let makes = |word: &str| {
                code.lines().any(|line| {
                    let line = line.trim_start();
                    let is_pattern = line.starts_with("let ") && line.contains("} = ");
                    line.contains(word)
                        && !is_pattern
                        && !line.starts_with("//")
                        && !line.contains("struct ")
                        && !line.contains("impl ")
                        && !line.contains("-> ")
                })
            };
            if makes("Snapshot {") && !file.ends_with("tests.rs") {
                assemblers.push(file.strip_prefix(crates).unwrap().display().to_string());
            }
        }
    }
    assemblers.sort();
    assert_eq!(assemblers, ["analysis/src/trial.rs", "driver/src/run_task.rs", "driver/src/view.rs"]);
}
