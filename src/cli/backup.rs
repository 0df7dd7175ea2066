//! `eventyard backup`: a copy of a running bus's data, and `eventyard restore`, the way back.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::connect::ServerArgs;
use super::exit::{Exit, Failure};
use super::output::{line, note};
use crate::backup::{self, RestoreError};
use crate::client::Client;
use crate::clock::Clock;

const EXAMPLES: &str = "\
Examples:
  eventyard backup --to bus.tar
  eventyard backup --to /backups --url https://bus:8443 --api-key-file admin.key

It holds all that was acknowledged before it began, and is made while the bus works. It needs a key
with manage on all buses. The key that seals secrets is not in it: keep <data_dir>/secrets.key, or
what EVENTYARD_SECRETS_KEY holds, in another place.";

/// Copy all data of a running bus into a file.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// File to write, which must not be there; or a folder, in which it gets a name with the time.
    #[arg(long, value_name = "FILE|DIR")]
    to: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
}

const RESTORE_EXAMPLES: &str = "\
Examples:
  eventyard restore bus.tar --data-dir ./data
  eventyard restore /backups/bus.tar --data-dir /var/lib/eventyard

Then put the key that seals secrets back, as secrets.key in that folder or where the settings say,
and start the bus. It delivers what was pending when the backup was made, and so perhaps again.";

/// Make a data folder of a backup.
#[derive(Debug, clap::Args)]
#[command(after_help = RESTORE_EXAMPLES)]
pub(crate) struct RestoreArgs {
    /// What `eventyard backup` wrote.
    backup: PathBuf,
    /// The folder to make; it must not be there, or be empty.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let path = match args.to.is_dir() {
        true => {
            let time = Clock::system().now().to_string().replace([':', '.'], "-");
            args.to.join(format!("eventyard-{time}.tar"))
        }
        false => args.to,
    };
    if path.exists() {
        return Err(Failure::usage(format!(
            "{} is there already, and is not written over",
            path.display()
        )));
    }
    let mut unfinished = path.clone().into_os_string();
    unfinished.push(".part");
    let unfinished = PathBuf::from(unfinished);
    let fetched = fetch(&args.server.client()?, &unfinished).await;
    let bytes = match fetched {
        Ok(bytes) => bytes,
        Err(failure) => {
            // The first error is the one to tell.
            let _ = fs::remove_file(&unfinished);
            return Err(failure);
        }
    };
    fs::rename(&unfinished, &path).map_err(|error| failed(&path, &error))?;
    line(path.display());
    note(format_args!(
        "{bytes} bytes. The key that seals secrets is not among them: keep it in another place."
    ));
    Ok(Exit::Ok)
}

async fn fetch(client: &Client, path: &Path) -> Result<u64, Failure> {
    let mut parts = client.backup().await?;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    let mut file = file.map_err(|error| failed(path, &error))?;
    let mut bytes = 0;
    while let Some(part) = parts.next().await? {
        file.write_all(&part)
            .map_err(|error| failed(path, &error))?;
        bytes += part.len() as u64;
    }
    file.sync_all().map_err(|error| failed(path, &error))?;
    Ok(bytes)
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("cannot write {}: {error}", path.display()))
}

pub(crate) fn restore(args: RestoreArgs) -> Result<Exit, Failure> {
    let file = File::open(&args.backup).map_err(|error| {
        Failure::usage(format!("cannot read {}: {error}", args.backup.display()))
    })?;
    let restored = backup::restore(&mut BufReader::new(file), &args.data_dir);
    let restored = restored.map_err(|error| match error {
        RestoreError::Backup(_) => Failure::invalid(error.to_string()),
        _ => Failure::failed(error.to_string()),
    })?;
    line(args.data_dir.display());
    note(format_args!(
        "{} files, {} bytes, of {}: all that was acknowledged up to sequence {}.",
        restored.files, restored.bytes, restored.time, restored.sequence
    ));
    if restored.needs_key {
        note(format_args!(
            "It holds sealed secrets or API keys: put their key back, as {} or where the settings say.",
            args.data_dir.join("secrets.key").display()
        ));
    }
    Ok(Exit::Ok)
}
