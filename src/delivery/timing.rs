//! Where the time of an attempt went.

use std::num::NonZeroU32;
use std::time::Duration;

/// What of an attempt took how long. All but the whole is `None` where it did not come to that, or
/// was not measured: a connection that is used again needs no name, no handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// Until the request was on its way: the event read, transformed, credentials had.
    pub prepared: Option<Micros>,
    /// Looking the host's name up.
    pub dns: Option<Micros>,
    pub connect: Option<Micros>,
    pub tls: Option<Micros>,
    /// From the request on its way to the head of the answer, a new connection included.
    pub first_byte: Option<Micros>,
    /// From the start to the end of the answer, or of the attempt.
    pub took: Option<Micros>,
}

/// A duration in four bytes: whole microseconds, at least one, at most 71 minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Micros(NonZeroU32);

impl Micros {
    /// In milliseconds, as traces show it.
    #[must_use]
    pub fn as_millis(self) -> f64 {
        f64::from(self.0.get()) / 1_000.0
    }
}

impl From<Duration> for Micros {
    fn from(duration: Duration) -> Self {
        let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
        Self(NonZeroU32::new(micros).unwrap_or(NonZeroU32::MIN))
    }
}

impl From<Micros> for Duration {
    fn from(micros: Micros) -> Self {
        Duration::from_micros(micros.0.get().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_fits_its_four_bytes() {
        let millis = |duration: Duration| Micros::from(duration).as_millis();
        assert_eq!(millis(Duration::from_micros(1_234)), 1.234);
        assert_eq!(millis(Duration::ZERO), 0.001, "it was there");
        assert_eq!(millis(Duration::MAX), 4_294_967.295);
        assert_eq!(size_of::<Timing>(), 24);
    }
}
