//! Manifests in files, folders and standard input, as kubectl takes them.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};

/// An object, and the file that it is from.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    /// The file; `-` is standard input.
    pub(crate) file: PathBuf,
    /// The object.
    pub(crate) object: Value,
}

/// How deep folders are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Their own files only.
    Flat,
    /// The folders in them too.
    Recursive,
}

/// The objects of all files, in order; lists are taken apart.
///
/// # Errors
/// A file that can't be read, or is neither YAML nor JSON; a folder without manifests.
pub(crate) fn read(paths: &[PathBuf], depth: Depth) -> Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for path in paths {
        for file in files(path, depth)? {
            let text = contents(&file)?;
            let parsed: Vec<Value> = serde_saphyr::from_multiple(&text)
                .with_context(|| format!("'{}' is neither YAML nor JSON", file.display()))?;
            let objects = parsed.into_iter().flat_map(items).filter(|object| !object.is_null());
            manifests.extend(objects.map(|object| Manifest { file: file.clone(), object }));
        }
    }
    Ok(manifests)
}

/// The objects of a list, or the object itself.
fn items(object: Value) -> Vec<Value> {
    let is_list = object.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    match object.get("items").and_then(Value::as_array) {
        Some(items) if is_list => items.clone(),
        _ => vec![object],
    }
}

/// A file itself, or the manifests of a folder by name.
fn files(path: &Path, depth: Depth) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    collect(path, depth, &mut found)?;
    ensure!(!found.is_empty(), "the folder '{}' holds no .yaml, .yml or .json file", path.display());
    Ok(found)
}

fn collect(folder: &Path, depth: Depth, found: &mut Vec<PathBuf>) -> Result<()> {
    let cannot = || format!("can't read the folder '{}'", folder.display());
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        // Links are not followed: one that leads upwards would have no end.
        entries.push((entry.path(), entry.file_type().with_context(cannot)?.is_dir()));
    }
    entries.sort();
    for (path, is_folder) in entries {
        let extension = path.extension().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
        if is_folder && depth == Depth::Recursive {
            collect(&path, depth, found)?;
        } else if !is_folder && ["yaml", "yml", "json"].contains(&extension) {
            found.push(path);
        }
    }
    Ok(())
}

fn contents(file: &Path) -> Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("can't read standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("can't read '{}'", file.display()))
}
