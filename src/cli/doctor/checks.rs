//! The checks of `doctor`, each on its own.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use super::super::open_files;
use super::Check;
use crate::access::{self, SignersError, SignersSource, TokenConfig};
use crate::app;
use crate::config::{Config, Loaded};
use crate::guard::Mode;
use crate::journal::doctor::{self, Report};
use crate::rule;
use crate::tls::{self, Tls};

/// Below this much free space the journal has no room for its next few segments.
const LOW_SPACE_BYTES: u64 = 1 << 30;

pub(super) fn configuration(loaded: &Loaded) -> Check {
    if loaded.warnings.is_empty() {
        Check::good("configuration", "every setting is valid")
    } else {
        Check::warning(
            "configuration",
            loaded.warnings.join("\n"),
            "Correct the name, or remove the variable.",
        )
    }
}

pub(super) fn rules(config: &Config) -> Check {
    let Some(folder) = config.rules_dir.as_deref() else {
        return Check::good("rules", "there is no rules folder");
    };
    let guard = config.guard(config.api.listen);
    match rule::read_folder(folder).and_then(|read| read.admitted(folder, &guard)) {
        Ok(read) => Check::good(
            "rules",
            format!(
                "{} rules in {} are valid",
                read.rules.len(),
                folder.display()
            ),
        ),
        Err(error) => Check::bad(
            "rules",
            error.to_string().trim_end().to_owned(),
            "Mend the files: a folder with one bad file is refused whole, and the bus does not start.",
        ),
    }
}

pub(super) fn guard(config: &Config) -> Check {
    let guard = config.guard(config.api.listen);
    let finding = guard.describe();
    if config.targets.mode == Mode::Off && !config.api.listen.ip().to_canonical().is_loopback() {
        return Check::warning(
            "targets' addresses",
            format!("the guard is {finding}, and others may reach this bus"),
            "Set targets_guard to auto, and name what rules may reach inside with targets_allow.",
        );
    }
    Check::good("targets' addresses", format!("the guard is {finding}"))
}

pub(super) fn access(config: &Config) -> Check {
    const NAME: &str = "access";
    let listen = config.api.listen;
    if let Err(error) = config.access.mode.check(listen) {
        return Check::bad(
            NAME,
            error.to_string(),
            "The bus does not start before it is said who may use it.",
        );
    }
    match config.access.mode {
        access::Mode::Keys => Check::good(NAME, "callers need API keys"),
        access::Mode::Off if !listen.ip().to_canonical().is_loopback() => Check::warning(
            NAME,
            format!("everybody who reaches {listen} may publish events and change rules"),
            "Set access to keys, unless a proxy or a network guards the address.",
        ),
        _ => Check::good(NAME, "open to everybody on this machine"),
    }
}

/// What only the right keys open: the bus does not start without.
pub(super) fn sealed(config: &Config) -> Check {
    const NAME: &str = "secrets and keys";
    match app::sealed(config) {
        Ok((secrets, keys)) => Check::good(
            NAME,
            format!("{secrets} secrets and {keys} API keys can be read"),
        ),
        Err(error) => Check::bad(
            NAME,
            format!("{error:#}"),
            "Put the file back that is named; the key that seals is kept apart from the data, and no backup holds it.",
        ),
    }
}

/// The keys of an identity provider. Those of a file the bus must read to start; a URL it goes on asking.
pub(super) async fn tokens(mode: access::Mode, config: &TokenConfig) -> Check {
    const NAME: &str = "tokens";
    let source = &config.signers;
    if mode != access::Mode::Keys {
        return Check::warning(
            NAME,
            format!("`jwt_keys` names {source}, but nobody is asked for a token"),
            "Set access to keys, or leave jwt_keys, jwt_issuer and jwt_audience out.",
        );
    }
    let remedy = "Name the key set (JWKS) of the identity provider in jwt_keys: the `jwks_uri` of its /.well-known/openid-configuration, or a file with what stands there.";
    match (access::look_at_signers(source).await, source) {
        (Ok(1), _) => Check::good(NAME, format!("1 key in {source} can judge tokens")),
        (Ok(keys), _) => Check::good(NAME, format!("{keys} keys in {source} can judge tokens")),
        (Err(SignersError::Unread(cause)), SignersSource::Url(_)) => Check::warning(
            NAME,
            format!("{source}: {cause}"),
            "The bus starts and goes on asking; until it is answered, every token is refused. Look at the URL, at the name service and at firewalls.",
        ),
        (Err(SignersError::Unread(cause)), SignersSource::File(_)) => Check::bad(
            NAME,
            format!("{source}: {cause}"),
            format!("The bus does not start without the file. {remedy}"),
        ),
        (Err(SignersError::Unfit(cause)), _) => {
            Check::bad(NAME, format!("{source}: {cause}"), remedy)
        }
    }
}

pub(super) fn tls(config: &tls::Config) -> Check {
    match Tls::open(config.clone()) {
        Ok(_) => Check::good(
            "TLS",
            format!(
                "{} and its private key are in order",
                config.certificate.display()
            ),
        ),
        Err(error) => Check::bad(
            "TLS",
            error.to_string(),
            "Put a certificate in PEM and its private key there; a bus that runs keeps those it has.",
        ),
    }
}

pub(super) fn address(listen: SocketAddr) -> Check {
    match TcpListener::bind(listen) {
        Ok(_) => Check::good("address", format!("{listen} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Check::warning(
            "address",
            format!("{listen} is taken: by a bus that runs, or by another program"),
            "Ask `eventyard health`; choose another port with --listen if it is not the bus.",
        ),
        Err(error) => Check::bad(
            "address",
            format!("{listen}: {error}"),
            "Choose an address of this machine with --listen; ports below 1024 need privileges.",
        ),
    }
}

pub(super) fn open_files() -> Check {
    const NAME: &str = "open files";
    let files = open_files::raise();
    match (open_files::too_few(files), files) {
        (Some(too_few), _) => Check::warning(
            NAME,
            too_few,
            "Raise the hard limit: `ulimit -Hn`, LimitNOFILE= in the systemd unit, or Docker's --ulimit.",
        ),
        (None, Some(files)) => Check::good(NAME, format!("{files} may be open at once")),
        (None, None) => Check::good(NAME, "any number may be open"),
    }
}

pub(super) fn writable(dir: &Path) -> Check {
    let finding = format!("{} can be written and flushed", dir.display());
    written(dir, finding)
}

/// The data folder is not there yet; `place` is the nearest folder above it that is.
pub(super) fn makeable(dir: &Path, place: &Path) -> Check {
    let finding = format!(
        "{} is not there yet; the first start makes it",
        dir.display()
    );
    written(place, finding)
}

fn written(dir: &Path, finding: String) -> Check {
    let probe = dir.join(format!(".doctor-{:08x}", fastrand::u32(..)));
    let written = std::fs::File::create(&probe)
        .and_then(|mut file| file.write_all(b"doctor").and_then(|()| file.sync_all()));
    let _ = std::fs::remove_file(&probe);
    match written {
        Ok(()) => Check::good("data", finding),
        Err(error) => Check::bad(
            "data",
            format!("{} cannot be written: {error}", dir.display()),
            "Make room, or give the folder to the user that the bus runs as; another is named with --data-dir.",
        ),
    }
}

pub(super) fn space(dir: &Path) -> Check {
    match rustix::fs::statvfs(dir) {
        Err(error) => Check::warning("disk space", format!("unknown: {error}"), "Look with `df`."),
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let finding = format!("{:.1} GiB are free", free as f64 / f64::from(1 << 30));
            if free < LOW_SPACE_BYTES {
                Check::warning(
                    "disk space",
                    finding,
                    "Make room, or shorten the retention of a bus (`retention` in its bus.json): a \
                     full disk stops publishing.",
                )
            } else {
                Check::good("disk space", finding)
            }
        }
    }
}

/// Reads the whole journal; with `cut`, ends a damaged one before its first damage.
pub(super) fn journal(data_dir: &Path, cut: bool) -> Check {
    const NAME: &str = "journal";
    let inside = data_dir.join("journal");
    let dir = if inside.is_dir() { &inside } else { data_dir };
    let report = match doctor::check(dir) {
        Ok(report) => report,
        Err(error) => return unread(dir, &error),
    };
    let Some(first) = report.damage.first() else {
        return Check::good(NAME, whole(&report));
    };
    if !cut {
        let found: Vec<String> = report
            .damage
            .iter()
            .map(|damage| format!("{}: {}", damage.at, damage.problem))
            .collect();
        return Check::bad(
            NAME,
            format!(
                "bytes that had been flushed are wrong\n{}",
                found.join("\n")
            ),
            format!(
                "Bring {} back from a copy. Without one, `eventyard doctor --cut --yes` ends the \
                 journal before {}, so that the bus starts again; what stands behind is set aside.",
                dir.display(),
                first.at
            ),
        );
    }
    match doctor::cut(dir) {
        Ok(Some(cut)) => Check::warning(
            NAME,
            format!(
                "was cut: it ends at {} with number {}",
                cut.at,
                cut.last_sequence.unwrap_or(0)
            ),
            format!(
                "What was cut off is kept in {}: events there are not delivered.",
                cut.set_aside.display()
            ),
        ),
        Ok(None) => Check::good(NAME, whole(&report)),
        Err(error) => unread(dir, &error),
    }
}

fn whole(report: &Report) -> String {
    let torn = match report.torn {
        None => String::new(),
        Some(at) => format!(
            "; a crash tore the last write at {at}, of which nobody was told: the next start cuts it off"
        ),
    };
    format!(
        "{} frames in {} segments, {:.1} MiB, are whole{torn}",
        report.frames,
        report.segments.len(),
        report.bytes as f64 / f64::from(1 << 20)
    )
}

fn unread(dir: &Path, error: &std::io::Error) -> Check {
    const NAME: &str = "journal";
    match error.kind() {
        ErrorKind::WouldBlock => Check::warning(
            NAME,
            "was not read: a bus is running on it",
            "Stop the bus for the whole check; `eventyard health` tells whether it is ready.",
        ),
        ErrorKind::NotFound => Check::good(NAME, "is not there yet; the first start makes it"),
        _ => Check::bad(
            NAME,
            format!("{}: {error}", dir.display()),
            "Look at the disk (`dmesg`, `smartctl`) and at who may read the folder.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_taken_port_is_a_warning() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let check = address(listener.local_addr().unwrap());
        assert_eq!(check.verdict, Verdict::Warning);
    }

    #[test]
    fn a_folder_that_is_not_there_cannot_be_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(writable(dir.path()).verdict, Verdict::Good);
        assert_eq!(writable(&dir.path().join("no")).verdict, Verdict::Bad);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
