//! The app as a process: what a kubelet and a client see of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

/// The running app; killed when the test ends.
struct Running {
    process: Child,
    lines: BufReader<ChildStdout>,
    address: String,
}

impl Running {
    fn start(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut process = Command::new(env!("CARGO_BIN_EXE_headgate-app"))
            .env("LISTEN", "127.0.0.1:0")
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(process.stdout.take().context("no stdout")?);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on ").context("did not listen")?.to_owned();
        Ok(Running { process, lines, address })
    }

    fn connect(&self) -> anyhow::Result<TcpStream> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(stream)
    }

    /// The whole answer to one request on a connection of its own.
    fn ask(&self, request_line: &str) -> anyhow::Result<String> {
        let mut stream = self.connect()?;
        write!(stream, "{request_line} HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn terminate(&self) -> anyhow::Result<()> {
        ensure!(Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status()?.success());
        Ok(())
    }

    /// Waits until the app is not ready any more, such as when SIGTERM has arrived.
    fn wait_until_unready(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.ask("GET /readyz")?.starts_with("HTTP/1.1 503") {
            ensure!(Instant::now() < deadline, "still ready after 10 s");
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only when the process has ended already, which is what is wanted.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Reads one answer without a body to its last header.
fn read_head(stream: &TcpStream) -> anyhow::Result<String> {
    let mut head = String::new();
    let mut reader = BufReader::new(stream);
    while !head.ends_with("\r\n\r\n") {
        ensure!(reader.read_line(&mut head)? > 0, "closed after {head:?}");
    }
    Ok(head)
}

#[test]
fn answers_say_the_version_and_which_errors_are_its_own() -> anyhow::Result<()> {
    let app = Running::start(&[("VERSION", "v7"), ("ERROR_RATE", "0.5")])?;
    let good = app.ask("GET /any/path")?;
    assert!(good.starts_with("HTTP/1.1 200") && good.contains("\r\nx-version: v7\r\n"), "{good}");
    assert!(good.ends_with("\r\n\r\nv7\n") && !good.contains("x-app-error"), "{good}");
    let bad = app.ask("GET /")?;
    assert!(bad.starts_with("HTTP/1.1 500") && bad.contains("\r\nx-app-error: true\r\n"), "{bad}");
    assert!(app.ask("GET /readyz")?.starts_with("HTTP/1.1 200"));
    let metrics = app.ask("GET /metrics")?;
    assert!(metrics.contains("http_requests_total{status=\"200\"} 1\n"), "{metrics}");
    assert!(metrics.contains("http_requests_total{status=\"500\"} 1\n"), "{metrics}");
    assert!(metrics.contains("http_request_duration_seconds_count 2\n"), "{metrics}");
    Ok(())
}

#[test]
fn what_is_posted_to_the_inbox_is_shown_there() -> anyhow::Result<()> {
    let app = Running::start(&[])?;
    let mut stream = app.connect()?;
    let head =
        "POST /inbox HTTP/1.1\r\nhost: app\r\nconnection: close\r\nidempotency-key: k1\r\ncontent-length: 7";
    write!(stream, "{head}\r\n\r\n{{\"a\":1}}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let shown = app.ask("GET /inbox")?;
    assert!(shown.ends_with("\r\n\r\nk1 {\"a\":1}\n"), "{shown}");
    Ok(())
}

#[test]
fn sigterm_drains_and_exits_with_zero() -> anyhow::Result<()> {
    let mut app = Running::start(&[("DRAIN", "2s"), ("CONTROL", "true")])?;
    app.ask("GET /")?;
    let before = Instant::now();
    app.terminate()?;
    app.wait_until_unready()?;
    // New connections are still served, each for one answer.
    let mut kept = app.connect()?;
    write!(kept, "GET / HTTP/1.1\r\nhost: app\r\n\r\n")?;
    let head = read_head(&kept)?;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("connection: close\r\n"), "{head}");
    assert!(app.ask("GET /healthz")?.starts_with("HTTP/1.1 200"));
    // A request that is in flight when the drain time ends is answered all the same.
    app.ask("POST /control?latency=3s")?;
    let last = app.ask("GET /")?;
    assert!(last.starts_with("HTTP/1.1 200"), "{last}");
    assert!(before.elapsed() > Duration::from_secs(3));
    assert!(app.process.wait()?.success());
    let mut rest = String::new();
    app.lines.read_to_string(&mut rest)?;
    assert_eq!(rest, "drained\n");
    Ok(())
}

#[test]
fn an_idle_connection_does_not_hold_up_the_exit() -> anyhow::Result<()> {
    let mut app = Running::start(&[("DRAIN", "0s")])?;
    let mut idle = app.connect()?;
    write!(idle, "GET /readyz HTTP/1.1\r\nhost: app\r\n\r\n")?;
    read_head(&idle)?;
    app.terminate()?;
    assert!(app.process.wait()?.success());
    Ok(())
}

#[test]
fn a_pod_that_never_gets_ready_is_alive_and_refuses_users_as_a_proxy_would() -> anyhow::Result<()> {
    let app = Running::start(&[("NEVER_READY", "true")])?;
    assert!(app.ask("GET /healthz")?.starts_with("HTTP/1.1 200"));
    assert!(app.ask("GET /readyz")?.starts_with("HTTP/1.1 503"));
    let refused = app.ask("GET /")?;
    assert!(refused.starts_with("HTTP/1.1 503") && !refused.contains("x-app-error"), "{refused}");
    Ok(())
}

#[test]
fn a_pod_that_loses_its_readiness_serves_on() -> anyhow::Result<()> {
    let app = Running::start(&[("UNREADY_AFTER", "2s")])?;
    assert!(app.ask("GET /readyz")?.starts_with("HTTP/1.1 200"));
    app.wait_until_unready()?;
    assert!(app.ask("GET /")?.starts_with("HTTP/1.1 200"));
    Ok(())
}

#[test]
fn nothing_listens_before_the_start_delay_is_over() -> anyhow::Result<()> {
    let before = Instant::now();
    let app = Running::start(&[("START_DELAY", "300ms"), ("NEVER_READY", "false")])?;
    assert!(before.elapsed() >= Duration::from_millis(300));
    assert!(app.ask("GET /readyz")?.starts_with("HTTP/1.1 200"));
    Ok(())
}

#[test]
fn a_crash_has_exit_code_one() -> anyhow::Result<()> {
    let mut app = Running::start(&[("CRASH_AFTER", "200ms")])?;
    assert_eq!(app.process.wait()?.code(), Some(1));
    Ok(())
}

#[test]
fn control_is_closed_unless_asked_for() -> anyhow::Result<()> {
    let app = Running::start(&[])?;
    assert!(app.ask("POST /control?error_rate=1")?.starts_with("HTTP/1.1 403"));
    assert!(app.ask("GET /")?.starts_with("HTTP/1.1 200"));
    let app = Running::start(&[("CONTROL", "true")])?;
    assert!(app.ask("POST /control?error_rate=1")?.starts_with("HTTP/1.1 200"));
    assert!(app.ask("GET /")?.starts_with("HTTP/1.1 500"));
    assert!(app.ask("POST /control?error_rate=2")?.starts_with("HTTP/1.1 400"));
    Ok(())
}

#[test]
fn resolve_prints_the_addresses_of_a_name() -> anyhow::Result<()> {
    let output =
        Command::new(env!("CARGO_BIN_EXE_headgate-app")).args(["--resolve", "localhost"]).output()?;
    let lines = String::from_utf8(output.stdout)?;
    assert!(
        output.status.success() && lines.lines().any(|line| line == "127.0.0.1" || line == "::1"),
        "{lines}"
    );
    Ok(())
}
