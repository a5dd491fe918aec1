//! The plugin as people and pipelines run it. No cluster is asked: there is no kubeconfig.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs a verb in a folder, with this as its standard input.
pub(crate) fn run(verb: &str, arguments: &[&str], folder: &Path, input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kubectl-headgate"))
        .arg(verb)
        .args(arguments)
        .current_dir(folder)
        .env("KUBECONFIG", "/nowhere")
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
