//! Pods, probes, Jobs, Services, names, the gateway's weights, and metrics of all that work in a lab.
//!
//! Needs root and the lab's builds: run by name, `cargo test -p headgate-lab --test carries_traffic`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use headgate_lab::{Addon, ImageConfig, Lab, Options, docker_archive};

const NAME: &str = "test-traffic";

/// Serves its first argument and one metric; `get NAME` resolves a name and asks there instead.
const APP: &str = r#"
#include <arpa/inet.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void end(int s) { (void)s; _exit(0); }
static int get(const char *host) {
    struct addrinfo *found, hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };
    if (getaddrinfo(host, "80", &hints, &found)) { puts("no such name"); return 3; }
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(s, found->ai_addr, found->ai_addrlen)) { puts("no connection"); return 4; }
    dprintf(s, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host);
    char b[4096]; ssize_t n;
    while ((n = read(s, b, sizeof b)) > 0) fwrite(b, 1, n, stdout);
    return 0;
}
int main(int c, char **v) {
    if (c > 2 && !strcmp(v[1], "get")) return get(v[2]);
    signal(SIGTERM, end); signal(SIGPIPE, SIG_IGN); setvbuf(stdout, 0, _IOLBF, 0);
    int one = 1, l = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(8080) };
    if (bind(l, (void *)&a, sizeof a) || listen(l, 128)) return 1;
    for (long served = 0;;) {
        int s = accept(l, 0, 0); char b[4096], out[256]; ssize_t n = read(s, b, sizeof b - 1);
        if (n > 0) {
            b[n] = 0;
            if (strstr(b, "GET /metrics")) snprintf(out, sizeof out, "app_served_total %ld\n", served);
            else { served++; snprintf(out, sizeof out, "version=%s\n", v[1]); }
            dprintf(s, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", strlen(out), out);
        }
        close(s);
    }
}
"#;

const OBJECTS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: VERSION }
spec:
  replicas: 1
  selector: { matchLabels: { version: VERSION } }
  template:
    metadata:
      labels: { app: app, version: VERSION, rollouts-pod-template-hash: hash-VERSION }
      annotations: { prometheus.io/scrape: "true", prometheus.io/port: "8080", prometheus.io/path: /metrics }
    spec:
      containers:
      - name: app
        image: lab.local/app:1
        args: [VERSION]
        ports: [{ containerPort: 8080, hostPort: HOSTPORT }]
        readinessProbe: { httpGet: { path: /, port: 8080 }, periodSeconds: 1 }
---
apiVersion: v1
kind: Service
metadata: { name: VERSION }
spec:
  selector: { version: VERSION }
  ports: [{ name: http, port: 80, targetPort: 8080 }]
---
"#;

const ROUTE: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: gateway }
spec:
  selector: { istio: ingressgateway }
  servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ["*"] }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: route }
spec:
  gateways: [gateway]
  hosts: ["*"]
  http:
  - route:
    - { destination: { host: stable, port: { number: 80 } }, weight: 50 }
    - { destination: { host: canary, port: { number: 80 } }, weight: 50 }
---
apiVersion: batch/v1
kind: Job
metadata: { name: asks }
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{ name: app, image: "lab.local/app:1", args: [get, stable] }]
---
apiVersion: batch/v1
kind: Job
metadata: { name: fails }
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{ name: app, image: "lab.local/app:1", args: [get, nowhere.example] }]
---
apiVersion: batch/v1
kind: Job
metadata: { name: metrics }
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{ name: app, image: "lab.local/app:1", args: [get, istio-ingressgateway.istio-system.svc] }]
---
apiVersion: v1
kind: Pod
metadata: { name: without-image }
spec:
  containers: [{ name: app, image: "nowhere.example/app:1" }]
"#;

/// Removes the lab whether the test passes or not.
struct Down;

impl Drop for Down {
    fn drop(&mut self) {
        if std::env::var_os("KEEP_LAB").is_none() {
            Lab::down(NAME).expect("the lab goes down");
        }
    }
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn get(url: &str) -> Option<String> {
    let (address, path) = url.strip_prefix("http://")?.split_once('/')?;
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    std::io::Write::write_all(&mut stream, request.as_bytes()).ok()?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).ok()?;
    text.starts_with("HTTP/1.1 200").then_some(text)
}

fn build_app(dir: &PathBuf) -> PathBuf {
    fs::create_dir_all(dir).unwrap();
    let (source, program, archive) = (dir.join("app.c"), dir.join("app"), dir.join("app.tar"));
    fs::write(&source, APP).unwrap();
    let gcc = Command::new("gcc").args(["-static", "-O1", "-w", "-o"]).arg(&program).arg(&source).status();
    assert!(gcc.unwrap().success());
    let config = ImageConfig { entrypoint: vec!["/app".into()], user: "1000:1000".into(), env: vec![] };
    docker_archive(&archive, "lab.local/app:1", &[("/app", &program, 0o755)], &config).unwrap();
    archive
}

#[test]
fn a_lab_carries_traffic_and_measures_it() {
    let lab = Lab::up(&Options { name: NAME.into(), addons: vec![Addon::Prometheus, Addon::Istio] }).unwrap();
    let _down = Down;
    let dir = lab.state_dir().join("test");
    lab.load_image(&build_app(&dir)).unwrap();
    let version = |name, host_port| OBJECTS.replace("VERSION", name).replace("HOSTPORT", host_port);
    let objects = version("stable", "8081") + &version("canary", "8082") + ROUTE;
    lab.kubectl_input(&["apply", "-f", "-"], &objects).unwrap();
    lab.kubectl(&["rollout", "status", "deployment/stable", "deployment/canary", "--timeout=30s"]).unwrap();

    lab.kubectl(&["wait", "--for=condition=Complete", "job/asks", "job/metrics", "--timeout=60s"]).unwrap();
    // On a busy machine the first pod may come before the Service's rules: the Job makes another, and both have logs.
    assert!(lab.kubectl(&["logs", "--selector=job-name=asks"]).unwrap().contains("version=stable"));
    lab.kubectl(&["wait", "--for=condition=Failed", "job/fails", "--timeout=30s"]).unwrap();
    assert!(lab.kubectl(&["logs", "job/fails"]).unwrap().contains("no such name"));
    let code = "jsonpath={.items[0].status.containerStatuses[0].state.terminated.exitCode}";
    assert_eq!(lab.kubectl(&["get", "pod", "-l", "job-name=fails", "-o", code]).unwrap(), "3");

    let why = "jsonpath={.status.containerStatuses[0].state.waiting.message}";
    let why_no_image = || lab.kubectl(&["get", "pod", "without-image", "-o", why]).unwrap();
    eventually("the node knows that there is no such registry", || why_no_image().contains("no such host"));

    let at_host_port = lab.within(|| Ok(get("http://198.18.0.1:8082/"))).unwrap().unwrap();
    assert!(at_host_port.contains("version=canary"));

    let gateway = format!("{}/", lab.gateway_url());
    let asked = 200;
    let canary =
        |_: usize| lab.within(|| Ok(get(&gateway).unwrap_or_default().contains("version=canary"))).unwrap();
    eventually("the gateway serves", || lab.within(|| Ok(get(&gateway).is_some())).unwrap());
    let share = (0..asked).filter(|n| canary(*n)).count();
    assert!((60..140).contains(&share), "{share} of {asked} at weight 50");
    let patch = r#"[{"op":"replace","path":"/spec/http/0/route/0/weight","value":100},
                    {"op":"replace","path":"/spec/http/0/route/1/weight","value":0}]"#;
    lab.kubectl(&["patch", "virtualservice", "route", "--type=json", "-p", patch]).unwrap();
    eventually("no request goes to the canary", || (0..20).all(|n| !canary(n)));

    let count = |query: &str| {
        let url = format!("{}/api/v1/query?query={query}", lab.prometheus_url());
        let text = lab.within(|| Ok(get(&url))).unwrap().unwrap_or_default();
        text.matches("\"metric\"").count()
    };
    eventually("series of pods carry their labels", || {
        count(
            "app_served_total{namespace=\"default\",rollouts_pod_template_hash=\"hash-canary\",pod=~\"canary-.%2B\"}",
        ) == 1
    });
    eventually("the gateway's series tell versions apart", || {
        count(
            "envoy_cluster_upstream_rq{envoy_response_code=\"200\",envoy_cluster_name=~\"outbound.80..(stable|canary).default.svc.cluster.local\"}",
        ) == 2
    });

    let rule = "groups: [{ name: g, rules: [{ record: served:total, expr: sum(app_served_total) }] }]";
    fs::write(lab.prometheus_rules_dir().join("test.yaml"), rule).unwrap();
    lab.reload_prometheus().unwrap();
    eventually("a rule is evaluated", || count("served:total") == 1);

    let writes = fs::read_to_string(lab.audit_log()).unwrap();
    assert!(
        writes.contains(r#""verb":"patch","user":{"username":"admin""#),
        "the patch above is in the audit log"
    );
    let apiserver = lab.component("kube-apiserver").unwrap();
    apiserver.restart(Duration::from_secs(30)).unwrap();
    assert_eq!(
        lab.kubectl(&["get", "deployment", "stable", "-o", "name"]).unwrap(),
        "deployment.apps/stable"
    );
    let prometheus = lab.component("prometheus").unwrap();
    prometheus.sigstop().unwrap();
    assert!(prometheus.check().is_err(), "a frozen part is not ready");
    prometheus.sigcont().unwrap();
    prometheus.wait_ready(Duration::from_secs(10)).unwrap();
}
