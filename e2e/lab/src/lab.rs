//! A lab as a whole: made, found again, used, and removed.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::builds::Builds;
use crate::cgroup::Cgroup;
use crate::component::{Component, ComponentStatus};
use crate::parts::{self, PARTS, PROMETHEUS_PORT, PartKind, TRAEFIK_PORT, at_node};
use crate::probe;
use crate::process::{self, Part};
use crate::progress::say;
use crate::sandbox::{NODE_ADDRESS, RESOLV_CONF, Sandbox};
use crate::state::State;
use crate::{Addon, Options};

const READY_LIMIT: Duration = Duration::from_secs(120);
/// A lab that is already there must be ready soon, else it is made anew.
const STILL_READY_LIMIT: Duration = Duration::from_secs(5);
const RETURN_LIMIT: Duration = Duration::from_secs(30);

/// A lab: a cluster, and the network that it is in.
#[derive(Debug)]
pub struct Lab {
    state: State,
    cgroup: Cgroup,
    sandbox: Sandbox,
}

impl Lab {
    /// Makes the lab that `options` describe, or finds it if it runs and is well. What a crash left of
    /// it is removed first. Builds what is not built yet.
    ///
    /// # Errors
    /// If not run as root, or a program cannot be built, started or does not become ready.
    pub fn up(options: &Options) -> Result<Self> {
        require_root()?;
        crate::packages::install_missing()?;
        let builds = Builds::ensure()?;
        let state = State::new(&options.name)?;
        let _lock = state.lock()?;
        let started = Instant::now();
        let lab = match Self::find_well(&state) {
            Some(lab) => lab,
            None => Self::create(state, &builds)?,
        };
        for addon in &options.addons {
            lab.add(*addon)?;
        }
        for part in lab.parts()? {
            lab.component(&part.name)?.wait_ready(READY_LIMIT)?;
        }
        say(&format!("lab {:?} is ready after {:.1} s", lab.name(), started.elapsed().as_secs_f32()));
        Ok(lab)
    }

    /// The running lab of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn attach(name: &str) -> Result<Self> {
        let state = State::new(name)?;
        let sandbox = Sandbox::load(&state)
            .with_context(|| format!("there is no lab {name:?}: run `lab up --name {name}`"))?;
        Ok(Self { cgroup: Cgroup::new(name)?, state, sandbox })
    }

    /// Removes the lab of this name and all that is left of it. It is no error if there is none.
    ///
    /// # Errors
    /// If something resists.
    pub fn down(name: &str) -> Result<()> {
        require_root()?;
        let state = State::new(name)?;
        let _lock = state.lock()?;
        clean(&state)?;
        fs::remove_dir(&state.root).with_context(|| format!("remove {}", state.root.display()))?;
        // The last lab takes the directory of all labs along; while others are in it, it stays.
        if let Some(base) = state.root.parent() {
            let _ = fs::remove_dir(base);
        }
        Ok(())
    }

    fn find_well(state: &State) -> Option<Self> {
        let lab = Self::attach(&state.name).ok()?;
        let parts = lab.parts().ok()?;
        let complete = PARTS
            .iter()
            .filter(|kind| kind.addon.is_none())
            .all(|kind| parts.iter().any(|part| part.name == kind.name));
        if !complete || !lab.sandbox.holder.is_alive() {
            return None;
        }
        // What was stopped on purpose is no sign of a crash; the others get time to notice its return.
        let mut limit = STILL_READY_LIMIT;
        for part in parts.iter().filter(|part| part.stopped) {
            lab.component(&part.name).ok()?.start().ok()?;
            limit = RETURN_LIMIT;
        }
        let well = parts
            .iter()
            .all(|part| lab.component(&part.name).is_ok_and(|component| component.wait_ready(limit).is_ok()));
        well.then_some(lab)
    }

    fn create(state: State, builds: &Builds) -> Result<Self> {
        clean(&state)?;
        let cgroup = Cgroup::new(&state.name)?;
        cgroup.create()?;
        link_programs(&state, builds)?;
        crate::pki::create(&state)?;
        let sandbox = Sandbox::create(&state, &cgroup.entrances())?;
        let lab = Self { state, cgroup, sandbox };
        say("starting etcd, kube-apiserver, containerd");
        for name in ["etcd", "kube-apiserver", "containerd"] {
            lab.launch(name)?;
        }
        lab.component("containerd")?.wait_ready(READY_LIMIT)?;
        parts::import_pause_image(&lab)?;
        lab.component("kube-apiserver")?.wait_ready(READY_LIMIT)?;
        say("starting kube-controller-manager, kube-scheduler, kubelet, kube-proxy, coredns");
        for name in ["kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "coredns"] {
            lab.launch(name)?;
        }
        Ok(lab)
    }

    fn add(&self, addon: Addon) -> Result<()> {
        let there = self.parts()?;
        let missing: Vec<&PartKind> = PARTS
            .iter()
            .filter(|kind| kind.addon == Some(addon) && there.iter().all(|part| part.name != kind.name))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        say(&format!("starting {}", missing.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ")));
        match addon {
            Addon::Prometheus => parts::publish_prometheus(self)?,
            Addon::Istio => {
                parts::prepare_istio(self)?;
                parts::publish_gateway(self)?;
            }
            Addon::Traefik => parts::prepare_traefik(self)?,
            Addon::Kwok => parts::prepare_kwok(self)?,
        }
        missing.into_iter().try_for_each(|kind| self.launch(kind.name))
    }

    fn launch(&self, name: &str) -> Result<()> {
        let program = (parts::kind(name)?.prepare)(self).with_context(|| format!("prepare {name}"))?;
        Component::launch(self, name, program)
    }

    /// The parts that were started, in their usual order.
    pub(crate) fn parts(&self) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        for kind in &PARTS {
            if let Some(part) = self.part(kind.name)? {
                parts.push(part);
            }
        }
        Ok(parts)
    }

    pub(crate) fn part(&self, name: &str) -> Result<Option<Part>> {
        let path = self.state.path("parts").join(format!("{name}.json"));
        match fs::read_to_string(&path) {
            Ok(text) => {
                serde_json::from_str(&text).map(Some).with_context(|| format!("read {}", path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The custom resources of an add-on, by the name of its build.
    pub(crate) fn crds(&self, build: &str) -> PathBuf {
        self.state.path(&format!("{build}-crds.yaml"))
    }

    /// The lab's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// All files of the lab are below it; `down` removes it.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state.root
    }

    /// The administrator's. It works from within the lab's network only.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        crate::kubeconfig::path(&self.state, "admin")
    }

    /// One line of JSON for each write that the API server answered, refused ones included. A file that is
    /// full (64 MiB) becomes `audit-TIME.log` beside it; three of those are kept.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.state.path("audit.log")
    }

    /// Rule files (`*.yaml`) go here; then [`Lab::reload_prometheus`].
    #[must_use]
    pub fn prometheus_rules_dir(&self) -> PathBuf {
        self.state.path("prometheus/rules")
    }

    /// For processes within the lab's network and for pods. Pods may also say
    /// `http://prometheus.monitoring.svc:9090`.
    #[must_use]
    pub fn prometheus_url(&self) -> String {
        format!("http://{}", at_node(PROMETHEUS_PORT))
    }

    /// The address of the only node, which programs within the lab's network share: what listens there can be
    /// the endpoint of a Service.
    #[must_use]
    pub fn node_address(&self) -> &'static str {
        NODE_ADDRESS
    }

    /// Istio's gateway: a `Gateway` for port 80 that selects `istio: ingressgateway` is served here.
    #[must_use]
    pub fn gateway_url(&self) -> String {
        format!("http://{}", at_node(80))
    }

    /// Traefik: what an Ingress of the class `nginx`, or a route of the Gateway `traefik` in the namespace
    /// `traefik`, says is served here. Pods may also say `http://traefik.traefik.svc`.
    #[must_use]
    pub fn traefik_url(&self) -> String {
        format!("http://{}", at_node(TRAEFIK_PORT))
    }

    /// Prometheus reads its configuration and rules again.
    ///
    /// # Errors
    /// If it does not run or refuses them.
    pub fn reload_prometheus(&self) -> Result<()> {
        self.within(|| probe::http("POST", &at_node(PROMETHEUS_PORT), "/-/reload").map(drop))
    }

    /// The path of one of the lab's programs, such as `helm`, `promtool` or `kubectl`.
    ///
    /// # Errors
    /// If there is no such program.
    pub fn tool(&self, name: &str) -> Result<PathBuf> {
        let path = self.bin_dir().join(name);
        if !path.exists() {
            bail!("the lab has no program {name:?}; those it has are in {}", self.bin_dir().display());
        }
        Ok(path)
    }

    /// A directory with all of the lab's programs, for `PATH`.
    #[must_use]
    pub fn bin_dir(&self) -> PathBuf {
        self.state.path("bin")
    }

    /// A part by its name, as `lab status` shows it.
    ///
    /// # Errors
    /// If the lab has no such part.
    pub fn component(&self, name: &str) -> Result<Component<'_>> {
        Ok(Component::new(self, parts::kind(name)?))
    }

    /// All parts that were started.
    ///
    /// # Errors
    /// If the lab's state cannot be read.
    pub fn status(&self) -> Result<Vec<ComponentStatus>> {
        self.parts()?.iter().map(|part| self.component(&part.name)?.status()).collect()
    }

    /// Moves the calling thread into the lab's network for good, with all threads and processes that it
    /// starts from now on; names of Services resolve there. Call it first thing in `main`, before an
    /// async runtime starts threads.
    ///
    /// # Errors
    /// If not run as root, or the lab does not run.
    pub fn enter_netns(&self) -> Result<()> {
        require_root()?;
        let search = "search svc.cluster.local cluster.local\noptions ndots:4\n";
        let resolv_conf = fs::read_to_string(self.state.path(RESOLV_CONF)).unwrap_or_default();
        let path = self.state.write("resolv.host.conf", &format!("{resolv_conf}{search}"))?;
        self.sandbox.enter(&path)
    }

    /// Runs `work` in a thread of its own within the lab's network; what it starts is there too. The
    /// calling thread stays where it is.
    ///
    /// # Errors
    /// If the network cannot be entered, and whatever `work` fails with.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.sandbox.within(work)
    }

    /// Runs kubectl as administrator; its output without the last line's end.
    ///
    /// # Errors
    /// If kubectl fails; the message is kubectl's.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.kubectl_input(args, "")
    }

    /// The same with something to read, for `-f -`.
    ///
    /// # Errors
    /// If kubectl fails; the message is kubectl's.
    pub fn kubectl_input(&self, args: &[&str], input: &str) -> Result<String> {
        let kubectl = self.tool("kubectl")?;
        let output = self.within(|| {
            let mut child = self
                .environment(&mut Command::new(&kubectl))
                .args(args)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .context("start kubectl")?;
            if let Some(mut stdin) = child.stdin.take() {
                // kubectl that ends without reading has something to say on stderr.
                let _ = stdin.write_all(input.as_bytes());
            }
            child.wait_with_output().context("wait for kubectl")
        })?;
        let text = success(&format!("kubectl {}", args.join(" ")), &output)?;
        Ok(text.trim_end_matches('\n').to_owned())
    }

    /// What a command needs to work with this lab: its programs and its kubeconfig.
    pub(crate) fn environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{}:{path}", self.bin_dir().display()))
            .env("KUBECONFIG", self.kubeconfig())
            // kubectl's cache of what the server offers must neither outlive the lab nor meet another.
            .env("KUBECACHEDIR", self.state.path("kubectl-cache"))
            .env("HEADGATE_LAB", self.name())
    }

    /// Makes a docker-archive known to the node. Use a tag other than `latest`, or the node tries to pull.
    ///
    /// # Errors
    /// If the file is no such archive.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        let archive = fs::canonicalize(archive).with_context(|| format!("find {}", archive.display()))?;
        // ctr must see containerd's socket, and the archive: the latter it gets as its standard input.
        let file = fs::File::open(&archive).with_context(|| format!("open {}", archive.display()))?;
        let wrapper = self.sandbox.wrapper()?;
        let (program, args) = wrapper.split_first().context("no wrapper")?;
        let output = Command::new(program)
            .args(args)
            .arg(self.tool("ctr")?)
            .args(["--namespace", "k8s.io", "images", "import", "-"])
            .stdin(file)
            .output()
            .context("start ctr")?;
        success(&format!("load the image {}", archive.display()), &output).map(drop)
    }
}

fn success(what: &str, output: &Output) -> Result<String> {
    if !output.status.success() {
        bail!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout.clone()).with_context(|| format!("{what}: output is no UTF-8"))
}

pub(crate) fn require_root() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("run as root: the lab makes network namespaces and cgroups");
    }
    Ok(())
}

fn link_programs(state: &State, builds: &Builds) -> Result<()> {
    let bin = state.path("bin");
    fs::create_dir_all(&bin).with_context(|| format!("create {}", bin.display()))?;
    let link = |from: &Path, to: &Path| {
        std::os::unix::fs::symlink(from, to).with_context(|| format!("link {}", to.display()))
    };
    for (name, path) in builds.programs() {
        link(path, &bin.join(name))?;
    }
    for (build, path) in builds.crds() {
        link(path, &state.path(&format!("{build}-crds.yaml")))?;
    }
    Ok(())
}

/// Removes what there is of a lab, except for its (empty) state directory, which is locked.
fn clean(state: &State) -> Result<()> {
    let cgroup = Cgroup::new(&state.name)?;
    let spared = process::self_and_ancestors();
    if let Ok(lab) = Lab::attach(&state.name) {
        // The parts first, so that none restarts what is killed next.
        for part in lab.parts().unwrap_or_default() {
            part.process.kill();
        }
    }
    let sandbox = Sandbox::load(state);
    // Held open, so that no other namespace gets its number while we look for who is in it.
    let pinned = sandbox.as_ref().and_then(|sandbox| sandbox.pin(&cgroup.pids()));
    cgroup.thaw();
    process::kill_all(|| {
        let mut pids = cgroup.pids();
        if let (Some(sandbox), Some(_)) = (&sandbox, &pinned) {
            pids.extend(sandbox.pids());
        }
        pids.into_iter().filter(|pid| !spared.contains(pid)).collect()
    })?;
    cgroup.remove()?;
    for entry in fs::read_dir(&state.root).with_context(|| format!("read {}", state.root.display()))? {
        let path = entry?.path();
        let removed = if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}
