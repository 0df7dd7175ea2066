//! Lets what would be logged many times a second be logged now and then.

use std::time::Duration;

use tokio::time::Instant;

/// What lasts is told again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// When something was told the last time.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Option<Instant>);

impl Seldom {
    /// Whether it is to be told now; if so, it has been.
    pub(crate) fn tells(&mut self) -> bool {
        let now = Instant::now();
        let tells = self.0.is_none_or(|told| now >= told + AGAIN_AFTER);
        if tells {
            self.0 = Some(now);
        }
        tells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_lasts_for_a_minute_is_told_six_times() {
        let mut told = Seldom::default();
        let mut times = 0;
        for _ in 0..600 {
            times += u32::from(told.tells());
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert_eq!(times, 6);
    }
}
