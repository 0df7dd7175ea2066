//! A server under measurement: this program again, in a process of its own, so that its memory is
//! its own and it can be killed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::cli::exit::Failure;

/// A child process that answers HTTP; killed on drop.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    pub(super) addr: SocketAddr,
    log: PathBuf,
    /// From the start of the process to the first 200 of `/readyz`.
    pub(super) ready_after: Duration,
}

/// How long a start may take: a rebuild of a large view is part of what is measured.
const START_TIMEOUT: Duration = Duration::from_secs(300);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

impl Server {
    /// Starts a bus on `data_dir`.
    pub(super) fn bus(data_dir: &Path) -> Result<Server, Failure> {
        Server::bus_with(data_dir, &[])
    }

    /// The same, with settings of its own, as flags.
    pub(super) fn bus_with(data_dir: &Path, settings: &[&str]) -> Result<Server, Failure> {
        Server::bus_by(data_dir, settings, Command::new)
    }

    /// The same; `command` makes the command that runs the program in the same process.
    pub(super) fn bus_by(
        data_dir: &Path,
        settings: &[&str],
        command: impl FnOnce(PathBuf) -> Command,
    ) -> Result<Server, Failure> {
        let data_dir = absolute(data_dir)?;
        let addr = free_address()?;
        let mut args = vec![
            "serve".to_owned(),
            format!("--listen={addr}"),
            format!("--data-dir={}", data_dir.display()),
            "--log-level=warn".to_owned(),
        ];
        args.extend(settings.iter().map(|&setting| setting.to_owned()));
        Server::start(command, &args, addr, &data_dir.with_extension("log"))
    }

    /// Starts one of the peers; `args` as [`super::peer::PeerArgs`] reads them.
    pub(super) fn peer(args: &[&str], scratch: &Path) -> Result<Server, Failure> {
        let addr = free_address()?;
        let mut all = vec!["bench-peer".to_owned(), format!("--listen={addr}")];
        all.extend(args.iter().map(|&arg| arg.to_owned()));
        Server::start(
            Command::new,
            &all,
            addr,
            &absolute(scratch)?.join("peer.log"),
        )
    }

    fn start(
        command: impl FnOnce(PathBuf) -> Command,
        args: &[String],
        addr: SocketAddr,
        log: &Path,
    ) -> Result<Server, Failure> {
        let failed = |error: std::io::Error| {
            Failure::failed(format!("the server under measurement: {error}"))
        };
        let program = std::env::current_exe().map_err(failed)?;
        let folder = log.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let lines = std::fs::File::create(log).map_err(failed)?;
        let mut command = command(program);
        command
            .args(args)
            // Neither the caller's rules and settings nor its terminal are part of the measurement.
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(lines.try_clone().map_err(failed)?)
            .stderr(lines);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("EVENTYARD_") {
                command.env_remove(name);
            }
        }
        let started = Instant::now();
        let mut server = Server {
            child: command.spawn().map_err(failed)?,
            addr,
            log: log.to_owned(),
            ready_after: Duration::ZERO,
        };
        while !is_ready(addr) {
            if let Ok(Some(status)) = server.child.try_wait() {
                return Err(server.broken(&format!("ended with {status}")));
            }
            if started.elapsed() > START_TIMEOUT {
                return Err(server.broken("did not become ready"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        server.ready_after = started.elapsed();
        Ok(server)
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Resident memory now, in bytes; `None` where there is no `/proc`.
    pub(super) fn resident_bytes(&self) -> Option<u64> {
        self.memory("VmRSS:")
    }

    /// The most resident memory since the start, or since [`Server::forget_peak`]; in bytes.
    pub(super) fn peak_bytes(&self) -> Option<u64> {
        self.memory("VmHWM:")
    }

    /// Where the system does not let us, the peak stays that since the start.
    pub(super) fn forget_peak(&self) {
        let _ = std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5");
    }

    /// Processor time so far; `None` where there is no `/proc`.
    pub(super) fn processor_time(&self) -> Option<Duration> {
        processor_time(self.child.id())
    }

    fn memory(&self, field: &str) -> Option<u64> {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).ok()?;
        let line = status.lines().find(|line| line.starts_with(field))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024)
    }

    /// A counter without labels of the bus's `/metrics`.
    pub(super) fn counter(&self, name: &str) -> Result<u64, Failure> {
        let text = scrape(self.addr)
            .map_err(|error| self.broken(&format!("shows no metrics ({error})")))?;
        let value = text.lines().find_map(|line| {
            let (known, value) = line.split_once(' ')?;
            (known == name).then(|| value.parse().ok())?
        });
        value.ok_or_else(|| self.broken(&format!("has no metric {name}")))
    }

    /// Asks it to stop (SIGTERM) and waits until it has.
    pub(super) fn stop(mut self) -> Result<(), Failure> {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let asked = Instant::now();
        while asked.elapsed() < STOP_TIMEOUT {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => {
                    return Err(self.broken(&format!("drained, but ended with {status}")));
                }
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
        }
        Err(self.broken("did not stop when asked to"))
    }

    /// Ends it as a crash would (SIGKILL).
    pub(super) fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn broken(&self, what: &str) -> Failure {
        let lines = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last: Vec<&str> = lines.lines().rev().take(10).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        Failure::failed(format!(
            "the server under measurement {what}; its last lines:\n  {}",
            last.join("\n  ")
        ))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A child that has ended already cannot be killed, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A free port of the loopback. Somebody else could take it before the child does; then the child
/// says so and the bench is started again.
pub(super) fn free_address() -> Result<SocketAddr, Failure> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(|error| Failure::failed(format!("no free port: {error}")))
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
}

fn is_ready(addr: SocketAddr) -> bool {
    let answer = || -> std::io::Result<bool> {
        let mut start = [0; 12];
        ask(addr, "/readyz")?.read_exact(&mut start)?;
        Ok(start.ends_with(b" 200"))
    };
    answer().unwrap_or(false)
}

/// What a process and its threads have spent, in the kernel too.
pub(super) fn processor_time(process: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which may hold anything: the 14th and 15th fields of all.
    let fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks: u64 = fields
        .take(2)
        .map_while(|field| field.parse::<u64>().ok())
        .sum();
    let each = 1.0 / rustix::param::clock_ticks_per_second() as f64;
    Some(Duration::from_secs_f64(ticks as f64 * each))
}

/// The metrics of a bus, as Prometheus reads them.
pub(super) fn scrape(addr: SocketAddr) -> std::io::Result<String> {
    let mut text = String::new();
    ask(addr, "/metrics")?.read_to_string(&mut text)?;
    Ok(text)
}

/// Sends a request; the answer is there to be read.
fn ask(addr: SocketAddr, path: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    Ok(stream)
}
