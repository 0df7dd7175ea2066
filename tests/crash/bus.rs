//! The bus as a child process: the real binary, started, watched, and killed.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

/// Longest time that a start, a stop or a wait may take: generous, for slow machines under load.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(5);
const LINES_KEPT: usize = 60;

/// Where the bus keeps things; the same over all its lives.
pub(crate) struct Place {
    pub(crate) root: PathBuf,
}

impl Place {
    pub(crate) fn within(folder: &Path) -> Place {
        Place {
            root: folder.to_owned(),
        }
    }

    /// Writes a file of the rules folder, below the bus `default`.
    pub(crate) fn put(&self, name: &str, document: &str) -> std::io::Result<()> {
        let folder = self.rules().join("default");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("{name}.json")), document)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.data().join("journal")
    }

    pub(crate) fn view(&self) -> PathBuf {
        self.data().join("view")
    }

    pub(crate) fn rules(&self) -> PathBuf {
        self.root.join("rules")
    }
}

/// One life of the bus.
pub(crate) struct Bus {
    child: Mutex<Child>,
    address: watch::Receiver<Option<SocketAddr>>,
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl Bus {
    /// Starts it. `receiver` is an address that its log may name and that is not its own.
    pub(crate) fn spawn(place: &Place, receiver: SocketAddr) -> Bus {
        let command = Command::new(env!("CARGO_BIN_EXE_eventyard"));
        Bus::spawn_with(command, place, receiver, "127.0.0.1:0")
    }

    /// The same, at an address of the caller's.
    pub(crate) fn spawn_at(place: &Place, receiver: SocketAddr, listen: &str) -> Bus {
        let command = Command::new(env!("CARGO_BIN_EXE_eventyard"));
        Bus::spawn_with(command, place, receiver, listen)
    }

    /// The same, by a command that runs the binary, in the same process, with the arguments that are
    /// added.
    pub(crate) fn spawn_with(
        mut command: Command,
        place: &Place,
        receiver: SocketAddr,
        listen: &str,
    ) -> Bus {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("EVENTYARD_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .arg("serve")
            .args(["--listen", listen, "--grace", "10s"])
            // Small segments: the journal moves on to the next one, and trims, many times.
            .args(["--segment-bytes", "1MiB"])
            .arg("--data-dir")
            .arg(place.data())
            .arg("--rules-dir")
            .arg(place.rules())
            .current_dir(&place.root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary under test starts");
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let (found, address) = watch::channel(None);
        let found = Arc::new(found);
        let out = child.stdout.take().expect("it is piped");
        let err = child.stderr.take().expect("it is piped");
        follow(out, Arc::clone(&lines), Arc::clone(&found), receiver);
        follow(err, Arc::clone(&lines), found, receiver);
        Bus {
            child: Mutex::new(child),
            address,
            lines,
        }
    }

    /// Where it answers, as soon as it says so.
    pub(crate) async fn address(&self) -> Result<SocketAddr, String> {
        let mut address = self.address.clone();
        let found = tokio::time::timeout(PATIENCE, address.wait_for(Option::is_some)).await;
        match found {
            Ok(Ok(address)) => Ok(address.expect("it was waited for")),
            Ok(Err(_)) => Err(format!("the bus did not start:\n{}", self.log())),
            Err(_) => Err(format!("the bus says no address:\n{}", self.log())),
        }
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.lock().id()
    }

    /// SIGKILL, now.
    pub(crate) fn kill(&self) {
        // It may have ended by itself; whoever waits for it notices.
        let _ = self.child.lock().kill();
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let id = self.child.lock().id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
    }

    pub(crate) fn has_ended(&self) -> bool {
        !matches!(self.child.lock().try_wait(), Ok(None))
    }

    /// Waits for its end.
    pub(crate) async fn ended(&self) -> Result<ExitStatus, String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.child.lock().try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                Err(error) => return Err(error.to_string()),
            }
            tokio::time::sleep(POLL).await;
        }
        Err(format!("the bus does not end:\n{}", self.log()))
    }

    /// Its last log lines.
    pub(crate) fn log(&self) -> String {
        let lines = self.lines.lock();
        lines.iter().map(|line| format!("    | {line}\n")).collect()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Reads the output to its end, so that the bus never waits for a full pipe.
fn follow(
    output: impl Read + Send + 'static,
    lines: Arc<Mutex<VecDeque<String>>>,
    found: Arc<watch::Sender<Option<SocketAddr>>>,
    receiver: SocketAddr,
) {
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if found.borrow().is_none()
                && let Some(address) = address_in(&line).filter(|found| *found != receiver)
            {
                found.send_replace(Some(address));
            }
            let mut lines = lines.lock();
            lines.push_back(line);
            if lines.len() > LINES_KEPT {
                lines.pop_front();
            }
        }
    });
}

/// The first loopback address with a port in a line.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("127.0.0.1:")?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let port: u16 = rest[..end].parse().ok().filter(|port| *port != 0)?;
    Some(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// Writes the rules folder that every life starts with.
pub(crate) fn write_rules(place: &Place, receiver: SocketAddr) -> std::io::Result<()> {
    // Small retention: segments are trimmed and written again under the test's hands.
    place.put(
        "bus",
        r#"{"retention": {"max_age": "1h", "max_bytes": "4MiB"}, "dedup_window": "30m"}"#,
    )?;
    let all = r#"{"source": ["/crash"]}"#;
    place.put("audit", &rule(receiver, "audit", all, "binary"))?;
    for (name, mode) in [
        ("structured", "structured"),
        ("batched", "batch"),
        ("refusing", "binary"),
        ("stubborn", "structured"),
    ] {
        let kind = match name {
            "refusing" => "refused",
            other => other,
        };
        let pattern = format!(r#"{{"type": ["crash.{kind}"]}}"#);
        place.put(name, &rule(receiver, name, &pattern, mode))?;
    }
    Ok(())
}

/// A rule with one target of the same name at the receiver. It never gives up.
pub(crate) fn rule(receiver: SocketAddr, name: &str, pattern: &str, mode: &str) -> String {
    let timeout = super::receiver::TIMEOUT;
    format!(
        r#"{{
  "pattern": {pattern},
  "targets": [{{
    "id": "{name}",
    "url": "http://{receiver}/{name}",
    "mode": "{mode}",
    "timeout": "{timeout}",
    "retry": {{"max_attempts": 1000, "max_age": "24h", "initial_delay": "50ms", "max_delay": "500ms"}}
  }}]
}}"#
    )
}
