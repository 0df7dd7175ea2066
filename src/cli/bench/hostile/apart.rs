//! The hostile target in a process of its own, which gives way to all others: in life it stands on
//! another machine, and what it costs itself is not the bus's.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::server::processor_time;
use super::target::{Hostile, Manner};
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::line;

/// The lowest priority that there is.
const GIVES_WAY: i32 = 19;

/// What it says before it ends.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Counts {
    /// Requests that came, or connections where none are read.
    pub(super) requests: u64,
    /// Bytes of answers without end that it got rid of.
    pub(super) written: u64,
}

/// The child process, killed on drop.
#[derive(Debug)]
pub(super) struct Apart {
    child: Child,
    says: BufReader<ChildStdout>,
    url: String,
}

impl Apart {
    pub(super) fn start(manner: &str) -> Result<Apart, Failure> {
        let failed = |error| Failure::failed(format!("{manner}: {error}"));
        let program = std::env::current_exe().map_err(failed)?;
        let mut child = Command::new(program)
            .args(["bench-peer", "hostile", manner])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let Some(stdout) = child.stdout.take() else {
            return Err(Failure::failed(format!("{manner}: it says nothing")));
        };
        let mut apart = Apart {
            child,
            says: BufReader::new(stdout),
            url: String::new(),
        };
        apart.says.read_line(&mut apart.url).map_err(failed)?;
        apart.url.truncate(apart.url.trim_end().len());
        if apart.url.is_empty() {
            return Err(Failure::failed(format!("{manner}: it did not start")));
        }
        Ok(apart)
    }

    pub(super) fn url(&self) -> String {
        self.url.clone()
    }

    /// Processor time so far; `None` where there is no `/proc`.
    pub(super) fn processor_time(&self) -> Option<Duration> {
        processor_time(self.child.id())
    }

    /// Ends it.
    pub(super) fn end(mut self) -> Result<Counts, Failure> {
        // The end of its input is its sign.
        drop(self.child.stdin.take());
        let mut last = String::new();
        let read = self.says.read_to_string(&mut last);
        let counts = read.ok().and_then(|_| serde_json::from_str(&last).ok());
        counts.ok_or_else(|| Failure::failed(format!("{}: it ended without a word", self.url)))
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child's side: says where it is, misbehaves until its input ends, and tells what came of it.
pub(in super::super) async fn run(manner: Manner) -> Result<Exit, Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("the hostile target: {error}"));
    rustix::process::nice(GIVES_WAY).map_err(|error| failed(error.into()))?;
    let hostile = Hostile::start(manner).await.map_err(failed)?;
    line(hostile.url());
    let input_ends = tokio::task::spawn_blocking(|| {
        let mut rest = Vec::new();
        std::io::stdin().read_to_end(&mut rest)
    });
    let _ = input_ends.await;
    let counts = Counts {
        requests: hostile.requests(),
        written: hostile.written(),
    };
    line(serde_json::to_string(&counts).unwrap_or_default());
    Ok(Exit::Ok)
}
