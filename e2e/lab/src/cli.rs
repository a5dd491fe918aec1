//! The commands of `lab`.

use std::ffi::OsString;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};

use crate::builds::Builds;
use crate::lab::{Lab, require_root};
use crate::progress::say;
use crate::state::State;
use crate::{Addon, DEFAULT_NAME, Options};

const RESTART_LIMIT: Duration = Duration::from_secs(60);
/// Of the reason why a part is not ready, in a line of `status`; `-o json` has all of it.
const REASON_CHARS_MAX: usize = 120;
/// Between two looks at a log that is followed.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);

/// A real Kubernetes on this machine, without Docker.
#[derive(Debug, Args)]
pub struct LabArgs {
    #[command(subcommand)]
    command: LabCommand,
}

#[derive(Debug, Args)]
struct Which {
    /// The lab's name; labs of different names live side by side.
    #[arg(long, env = "HEADGATE_LAB", default_value = DEFAULT_NAME)]
    name: String,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    /// Make a lab, or find it if it runs; what a crash left is removed first.
    Up {
        #[command(flatten)]
        which: Which,
        /// What to start beside Kubernetes.
        #[arg(long, value_enum, value_delimiter = ',')]
        with: Vec<Addon>,
    },
    /// Remove a lab and all that is left of it.
    Down {
        #[command(flatten)]
        which: Which,
        /// All labs of this cache.
        #[arg(long)]
        all: bool,
    },
    /// Show the parts of a lab.
    Status {
        #[command(flatten)]
        which: Which,
        #[arg(long, short, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
    /// Run kubectl as administrator.
    Kubectl {
        #[command(flatten)]
        which: Which,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Run a command within the lab's network, with KUBECONFIG and the lab's programs in PATH.
    Exec {
        #[command(flatten)]
        which: Which,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Print the log of a part.
    Logs {
        #[command(flatten)]
        which: Which,
        /// As `lab status` names it.
        part: String,
        /// Go on printing what is added.
        #[arg(long, short)]
        follow: bool,
    },
    /// Make a docker-archive known to the node.
    LoadImage {
        #[command(flatten)]
        which: Which,
        file: PathBuf,
    },
    /// Stop a part.
    Stop {
        #[command(flatten)]
        which: Which,
        /// As `lab status` names it.
        part: String,
    },
    /// Start a part that was stopped.
    Start {
        #[command(flatten)]
        which: Which,
        /// As `lab status` names it.
        part: String,
    },
    /// Build what is not built yet; `up` does so too.
    Build,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Runs a command of `lab`. `kubectl` and `exec` replace this process and do not return.
///
/// # Errors
/// With what to do about it.
pub fn run(args: LabArgs) -> Result<()> {
    match args.command {
        LabCommand::Up { which, with } => {
            let lab = Lab::up(&Options { name: which.name, addons: with })?;
            print(&format!("KUBECONFIG={} (within `lab exec`)\n", lab.kubeconfig().display()))
        }
        LabCommand::Down { which, all } => {
            let names = if all { State::all()? } else { vec![which.name] };
            for name in names {
                Lab::down(&name)?;
                say(&format!("lab {name:?} is gone"));
            }
            Ok(())
        }
        LabCommand::Status { which, output } => status(&Lab::attach(&which.name)?, output),
        LabCommand::Kubectl { which, args } => {
            let lab = Lab::attach(&which.name)?;
            let kubectl = lab.tool("kubectl")?;
            become_within(&lab, Command::new(kubectl).args(args))
        }
        LabCommand::Exec { which, command } => {
            let lab = Lab::attach(&which.name)?;
            let (program, args) = command.split_first().context("no command")?;
            become_within(&lab, Command::new(program).args(args))
        }
        LabCommand::Logs { which, part, follow } => logs(&Lab::attach(&which.name)?, &part, follow),
        LabCommand::LoadImage { which, file } => Lab::attach(&which.name)?.load_image(&file),
        LabCommand::Stop { which, part } => Lab::attach(&which.name)?.component(&part)?.stop(),
        LabCommand::Start { which, part } => {
            let lab = Lab::attach(&which.name)?;
            let component = lab.component(&part)?;
            component.start()?;
            component.wait_ready(RESTART_LIMIT)
        }
        LabCommand::Build => Builds::ensure().map(drop),
    }
}

/// The exit code, the terminal and signals are the command's own.
fn become_within(lab: &Lab, command: &mut Command) -> Result<()> {
    lab.enter_netns()?;
    let error = lab.environment(command).exec();
    Err(error).with_context(|| format!("start {}", command.get_program().to_string_lossy()))
}

fn status(lab: &Lab, output: Format) -> Result<()> {
    require_root()?;
    let parts = lab.status()?;
    if output == Format::Json {
        let text = serde_json::to_string_pretty(&serde_json::json!({
            "name": lab.name(),
            "state": lab.state_dir(),
            "kubeconfig": lab.kubeconfig(),
            "ready": parts.iter().all(|part| part.ready),
            "parts": parts,
        }))?;
        return print(&format!("{text}\n"));
    }
    let mut text = format!("lab {} in {}\n", lab.name(), lab.state_dir().display());
    for part in &parts {
        let pid = part.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let ready: String =
            part.reason.as_deref().unwrap_or("ready").chars().take(REASON_CHARS_MAX).collect();
        text += &format!("{:<24} {pid:>7}  {:<32} {ready}\n", part.name, part.address);
    }
    print(&text)?;
    if parts.iter().any(|part| !part.ready) {
        bail!("not all parts are ready: `lab logs PART` may say why, `lab up` repairs");
    }
    Ok(())
}

fn logs(lab: &Lab, part: &str, follow: bool) -> Result<()> {
    lab.component(part)?;
    let path = lab.state().log(part);
    let mut file = std::fs::File::open(&path)
        .with_context(|| format!("{part} has no log: lab {:?} was made without it", lab.name()))?;
    let mut position = 0;
    loop {
        file.seek(SeekFrom::Start(position)).context("seek in the log")?;
        let mut bytes = Vec::new();
        position += file.read_to_end(&mut bytes).context("read the log")? as u64;
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(&bytes).and_then(|()| stdout.flush()).context("print the log")?;
        if !follow || !path.exists() {
            return Ok(());
        }
        std::thread::sleep(FOLLOW_INTERVAL);
    }
}

fn print(text: &str) -> Result<()> {
    std::io::stdout().lock().write_all(text.as_bytes()).context("print")
}
