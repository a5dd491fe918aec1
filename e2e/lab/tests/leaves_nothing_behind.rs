//! Two labs side by side do not meet; `up` heals what was killed; `down` leaves no process, mount,
//! namespace, cgroup or file.
//!
//! Needs root and the lab's builds: run by name, `cargo test -p headgate-lab --test leaves_nothing_behind`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use headgate_lab::{ImageConfig, Lab, Options, docker_archive};

const NAMES: [&str; 2] = ["test-one", "test-two"];
/// Directories in which programs of a cluster leave things if one lets them.
const WATCHED: [&str; 9] = [
    "/run",
    "/run/netns",
    "/run/containerd",
    "/var/lib",
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/log",
    "/var/log/containers",
    "/etc/cni",
];

/// What of the machine a lab could change.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    processes: BTreeSet<String>,
    mounts: BTreeSet<String>,
    network_namespaces: BTreeSet<PathBuf>,
    cgroups: BTreeSet<PathBuf>,
    files: BTreeSet<PathBuf>,
    interfaces: BTreeSet<PathBuf>,
}

/// Of the labs of this test: others may come and go meanwhile.
fn is_ours(text: &str) -> bool {
    NAMES.iter().any(|name| text.contains(name))
}

fn traces(state_dirs: &[PathBuf]) -> Traces {
    let mut traces = Traces {
        processes: BTreeSet::new(),
        mounts: fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .lines()
            .filter(|line| is_ours(line))
            .map(str::to_owned)
            .collect(),
        network_namespaces: BTreeSet::new(),
        cgroups: BTreeSet::new(),
        files: state_dirs.iter().filter(|dir| dir.exists()).cloned().collect(),
        interfaces: entries("/sys/class/net"),
    };
    for dir in WATCHED {
        traces.files.extend(entries(dir));
    }
    for process in entries("/proc") {
        let name = process.file_name().unwrap().to_string_lossy().into_owned();
        if !name.chars().all(|c| c.is_ascii_digit()) {
            continue;
        }
        let command = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
        let cgroups = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
        // Zombies have neither a command nor anything else; whoever started them may still ask.
        if is_ours(&cgroups) && !command.is_empty() || is_ours(&command) && command.contains("/labs/") {
            traces.processes.insert(command);
            traces.network_namespaces.extend(fs::read_link(process.join("ns/net")));
        }
    }
    collect_cgroups(Path::new("/sys/fs/cgroup"), 0, &mut traces.cgroups);
    traces
}

fn entries(dir: impl AsRef<Path>) -> BTreeSet<PathBuf> {
    fs::read_dir(dir).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

fn collect_cgroups(dir: &Path, depth: usize, found: &mut BTreeSet<PathBuf>) {
    for entry in entries(dir).into_iter().filter(|entry| depth < 3 && entry.is_dir()) {
        collect_cgroups(&entry, depth + 1, found);
        if is_ours(&entry.to_string_lossy()) {
            found.insert(entry);
        }
    }
}

fn up(name: &str) -> Lab {
    Lab::up(&Options { name: name.to_owned(), addons: Vec::new() }).unwrap()
}

/// A pod with volumes, of the pause program: with it come a shim, mounts and a network namespace.
fn run_pod(lab: &Lab) {
    let archive = lab.state_dir().join("app.tar");
    let config = ImageConfig { entrypoint: vec!["/pause".into()], ..ImageConfig::default() };
    docker_archive(&archive, "lab.local/app:1", &[("pause", &lab.tool("pause").unwrap(), 0o755)], &config)
        .unwrap();
    lab.load_image(&archive).unwrap();
    let pod = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"pod"},"spec":{
        "containers":[{"name":"app","image":"lab.local/app:1","volumeMounts":[{"name":"memory","mountPath":"/memory"}]}],
        "volumes":[{"name":"memory","emptyDir":{"medium":"Memory"}}]}}"#;
    lab.kubectl_input(&["apply", "-f", "-"], pod).unwrap();
    lab.kubectl(&["wait", "--for=condition=Ready", "pod/pod", "--timeout=30s"]).unwrap();
}

#[test]
fn labs_do_not_meet_heal_and_leave_nothing_behind() {
    for name in NAMES {
        Lab::down(name).unwrap();
    }
    let before = traces(&[]);

    let labs = std::thread::scope(|scope| {
        let threads = NAMES.map(|name| scope.spawn(move || up(name)));
        threads.map(|thread| thread.join().unwrap())
    });
    let [one, two] = &labs;
    let dirs: Vec<PathBuf> = labs.iter().map(|lab| lab.state_dir().to_path_buf()).collect();

    // They do not meet: the same addresses, another cluster; a pod of one is not in the other.
    run_pod(one);
    assert_eq!(two.kubectl(&["get", "pods", "-o", "name"]).unwrap(), "");
    run_pod(two);
    let uid = |lab: &Lab| {
        lab.kubectl(&["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"]).unwrap()
    };
    let (uid_one, uid_two) = (uid(one), uid(two));
    assert_ne!(uid_one, uid_two);
    let during = traces(&dirs);
    assert!(
        during.processes.len() > 16 && !during.cgroups.is_empty() && during.network_namespaces.len() >= 4
    );
    assert_eq!(during.mounts, before.mounts, "mounts stay in the labs' mount namespaces");
    assert_eq!(during.interfaces, before.interfaces);

    // A running lab is found, not made again.
    assert_eq!(uid(&up(NAMES[0])), uid_one);

    // A part that is stopped on purpose is started again, and the cluster is the same.
    one.component("kube-proxy").unwrap().stop().unwrap();
    assert_eq!(uid(&up(NAMES[0])), uid_one);

    // A part that is killed comes back alone.
    let scheduler = one.component("kube-scheduler").unwrap();
    scheduler.kill().unwrap();
    assert!(scheduler.check().is_err());
    scheduler.start().unwrap();
    scheduler.wait_ready(Duration::from_secs(20)).unwrap();

    // Some parts of one are killed (as if at random, but the same each time) and even the process that
    // holds its namespaces: `up` heals it, and the other notices nothing.
    for (number, part) in one.status().unwrap().iter().enumerate() {
        if number % 2 == 1 {
            one.component(&part.name).unwrap().kill().unwrap();
        }
    }
    let sandbox: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(one.state_dir().join("sandbox.json")).unwrap()).unwrap();
    Command::new("kill").args(["-9", &sandbox["holder"]["pid"].to_string()]).status().unwrap();
    let healed = up(NAMES[0]);
    assert_ne!(uid(&healed), uid_one, "made anew");
    run_pod(&healed);
    assert_eq!(uid(two), uid_two);
    two.kubectl(&["wait", "--for=condition=Ready", "pod/pod", "--timeout=1s"]).unwrap();

    // All of one are killed, as if the machine had done it, except for its pod.
    for part in healed.status().unwrap() {
        healed.component(&part.name).unwrap().kill().unwrap();
    }
    for name in NAMES {
        Lab::down(name).unwrap();
    }
    assert_eq!(traces(&dirs), before);
    for name in NAMES {
        Lab::attach(name).unwrap_err();
        Lab::down(name).expect("a lab that is gone may be taken down again");
    }
    assert_eq!(traces(&dirs), before);
}
