//! The only place that writes to the terminal.

use crate::args::Global;
use crate::view::Palette;
use anyhow::{Error, Result};
use std::io::{self, IsTerminal};
use std::process::ExitCode;

/// Where a command's words go.
pub(crate) struct Output {
    /// How to colour what is printed.
    pub(crate) palette: Palette,
    /// Whether somebody watches it as it comes.
    pub(crate) is_terminal: bool,
}

impl Output {
    /// Colours only for people: on a terminal, unless `--no-color`, `NO_COLOR` or a dumb terminal says otherwise.
    pub(crate) fn new(global: &Global) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colours = is_terminal && !global.no_color && !is_set("NO_COLOR") && !is_dumb;
        let palette = if colours { Palette::Ansi } else { Palette::Plain };
        Self { palette, is_terminal: is_terminal && !is_dumb }
    }

    /// For programs: no colours, no screen.
    pub(crate) fn plain() -> Self {
        Self { palette: Palette::Plain, is_terminal: false }
    }

    /// Prints a line.
    pub(crate) fn line(&self, text: &str) -> Result<()> {
        self.block(&format!("{text}\n"))
    }

    /// Prints text as it is.
    pub(crate) fn block(&self, text: &str) -> Result<()> {
        match streams::out(text) {
            // `… | head` has seen enough: that is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            written => Ok(written?),
        }
    }

    /// Replaces the screen with text, as much of it as fits. Lines are overwritten in place, so that nothing flickers,
    /// and cut at the edge, so that none takes two.
    pub(crate) fn screen(&self, text: &str) -> Result<()> {
        const HOME: &str = "\x1b[H";
        const CLEAR_TO_END_OF_LINE: &str = "\x1b[K";
        const CLEAR_BELOW: &str = "\x1b[J";
        const CUT_LONG_LINES: &str = "\x1b[?7l";
        const WRAP_LONG_LINES: &str = "\x1b[?7h";
        let height = terminal_size::terminal_size().map_or(usize::MAX, |(_, height)| usize::from(height.0));
        let mut lines: Vec<&str> = text.lines().collect();
        let hidden = (lines.len() + 1).saturating_sub(height);
        let more = format!("… {} more lines", hidden + 1);
        if hidden > 0 {
            lines.truncate(height.saturating_sub(2));
            lines.push(&more);
        }
        let lines: String = lines.iter().map(|line| format!("{line}{CLEAR_TO_END_OF_LINE}\r\n")).collect();
        self.block(&format!("{CUT_LONG_LINES}{HOME}{lines}{CLEAR_BELOW}{WRAP_LONG_LINES}"))
    }

    /// Makes room for [`Output::screen`].
    pub(crate) fn clear(&self) -> Result<()> {
        self.block("\x1b[2J")
    }

    /// Says something beside the answer, on standard error.
    pub(crate) fn note(&self, text: &str) {
        streams::beside(&format!("{text}\n"));
    }

    /// Says why a command failed.
    pub(crate) fn fail(&self, error: &Error) -> ExitCode {
        self.note(&format!("Error: {}", crate::explain::causes(error)));
        ExitCode::FAILURE
    }
}

#[cfg(not(test))]
mod streams {
    use std::io::{self, Write};

    pub(super) fn out(text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
    }

    pub(super) fn beside(text: &str) {
        // Nothing can be done when even this can't be written.
        io::stderr().write_all(text.as_bytes()).ok();
    }
}

/// In tests all words are kept, for the thread of the test.
#[cfg(test)]
pub(crate) mod streams {
    use std::cell::RefCell;
    use std::io;

    thread_local! { static SAID: RefCell<String> = const { RefCell::new(String::new()) } }

    #[expect(clippy::unnecessary_wraps, reason = "as where it may fail")]
    pub(super) fn out(text: &str) -> io::Result<()> {
        beside(text);
        Ok(())
    }

    pub(super) fn beside(text: &str) {
        SAID.with_borrow_mut(|said| said.push_str(text));
    }

    /// What was said since this was asked last.
    pub(crate) fn said() -> String {
        SAID.take()
    }
}
