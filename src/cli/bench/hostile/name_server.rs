//! A name server that is slow on purpose, and a way to start a program that asks it.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::UdpSocket;

/// How late a name that begins with `late` is answered.
const LATE: Duration = Duration::from_secs(2);

/// Says that names which begin with `quick` are this machine, at once, and of those which begin with
/// `late` the same after two seconds; of all others it says nothing. Until it is dropped.
#[derive(Debug)]
pub(super) struct NameServer {
    conf: PathBuf,
    asked: Arc<Mutex<HashSet<Vec<u8>>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl NameServer {
    /// Starts on a free address of the loopback. `folder` gets the file that names the server, with
    /// `options` of resolv.conf. `Err` says why this machine does not allow it.
    pub(super) async fn start(folder: &Path, options: &str) -> Result<NameServer, String> {
        let addr = Ipv4Addr::new(127, 53, fastrand::u8(..), fastrand::u8(1..255));
        // Resolvers ask no other port.
        let socket = UdpSocket::bind((addr, 53));
        let socket = socket.await.map_err(|error| {
            format!("a name server of the test's own may not use port 53: {error}")
        })?;
        let conf = folder.join("resolv.conf");
        std::fs::write(&conf, format!("nameserver {addr}\n{options}\n"))
            .map_err(|error| format!("{}: {error}", conf.display()))?;
        let asked = Arc::new(Mutex::new(HashSet::new()));
        let task = tokio::spawn(serve(Arc::new(socket), Arc::clone(&asked)));
        let server = NameServer { conf, asked, task };
        let probe = server
            .command("getent")
            .args(["ahostsv4", "quick.test"])
            .output();
        let probe = probe.map_err(|error| format!("a file system of the bus's own: {error}"))?;
        if probe.stdout.starts_with(b"127.0.0.1") {
            return Ok(server);
        }
        Err(format!(
            "the bus cannot be given a name server of its own: {}",
            String::from_utf8_lossy(&probe.stderr).trim()
        ))
    }

    /// A command that runs the program, in the same process, where this server is asked for names:
    /// with an `/etc/resolv.conf` that only it sees.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--map-root-user", "--mount", "sh", "-c"])
            .arg("mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"")
            .arg(&self.conf)
            .arg(program);
        command
    }

    /// How many different names it was asked for.
    pub(super) fn asked(&self) -> usize {
        self.asked.lock().len()
    }
}

async fn serve(socket: Arc<UdpSocket>, asked: Arc<Mutex<HashSet<Vec<u8>>>>) {
    let mut late = tokio::task::JoinSet::new();
    let mut packet = [0; 512];
    loop {
        let received = socket.recv_from(&mut packet).await;
        // An asker that is gone is an error of the next call; it concerns nobody.
        let Ok((length, asker)) = received else {
            continue;
        };
        let Some((name, answer)) = answer(&packet[..length]) else {
            continue;
        };
        asked.lock().insert(name.to_vec());
        while late.try_join_next().is_some() {}
        if name.starts_with(b"quick") {
            let _ = socket.send_to(&answer, asker).await;
        } else if name.starts_with(b"late") {
            late.spawn(send_late(Arc::clone(&socket), answer, asker));
        }
    }
}

async fn send_late(socket: Arc<UdpSocket>, answer: Vec<u8>, asker: SocketAddr) -> io::Result<()> {
    tokio::time::sleep(LATE).await;
    socket.send_to(&answer, asker).await?;
    Ok(())
}

/// The name that is asked for, in the form of the wire without the first length, and the answer that
/// it is 127.0.0.1, or for other kinds of records that there are none.
fn answer(query: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    const HEAD: usize = 12;
    let name_length = query.get(HEAD..)?.iter().position(|byte| *byte == 0)?;
    let question = query.get(HEAD..HEAD + name_length + 5)?;
    let is_v4 = question[name_length + 1..] == [0, 1, 0, 1];
    let mut answer = query[..2].to_vec();
    // An answer, recursion was wanted and is there; one question, at most one record.
    answer.extend_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_v4), 0, 0, 0, 0]);
    answer.extend_from_slice(question);
    if is_v4 {
        // The question's name, an address of the internet, not to be kept, four bytes.
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
    }
    Some((question.get(1..name_length)?, answer))
}
