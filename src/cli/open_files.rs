//! Raises the limit on open files as far as the system lets a program do so by itself.
//!
//! Shells and service managers start programs with a limit of 1,024, for the sake of old ones, and
//! with a ceiling of hundreds of thousands. A bus needs a descriptor for each connection, in and out.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits;

/// What a bus may need: its connections in and out, and its own files.
pub(super) const WANTED: u64 =
    (limits::CONNECTIONS + limits::ATTEMPTS + limits::IDLE_CONNECTIONS_PER_TARGET * 128) as u64;

/// Raises the limit to what it may be; how many files may be open then, `None` if any number.
pub(super) fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// What there is to say where so many are too few.
pub(super) fn too_few(files: Option<u64>) -> Option<String> {
    let files = files.filter(|files| *files < WANTED)?;
    Some(format!(
        "{files} files may be open at once; with many connections {WANTED} may be needed"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_as_high_as_it_may_be() {
        let raised = raise();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, raised);
        assert_eq!(limit.current, limit.maximum);
    }

    #[test]
    fn too_few_are_told() {
        assert_eq!(too_few(None), None);
        assert_eq!(too_few(Some(WANTED)), None);
        assert!(too_few(Some(1_024)).unwrap().starts_with("1024 files"));
    }
}
