//! What a healthy target is measured beside.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use super::target::Manner;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// One target of this manner.
    Target(Manner),
    /// Targets whose names nobody answers for.
    SlowNames,
}

/// In the order of the measurement; slow names last, since their look-ups end late.
const ALL: &[Trouble] = &[
    Trouble::Target(Manner::NeverAnswers),
    Trouble::Target(Manner::NeverReads),
    Trouble::Target(Manner::DripsHead),
    Trouble::Target(Manner::DripsBody),
    Trouble::Target(Manner::EndlessBody),
    Trouble::Target(Manner::EndlessErrorBody),
    Trouble::Target(Manner::GzipBomb),
    Trouble::Target(Manner::ClosesInBody),
    Trouble::Target(Manner::ClosesAtOnce),
    Trouble::Target(Manner::Resets),
    Trouble::Target(Manner::FloodsWithContinue),
    Trouble::Target(Manner::LargeHead),
    Trouble::Target(Manner::HugeHead),
    Trouble::Target(Manner::ManyHeaders),
    Trouble::Target(Manner::BadLength),
    Trouble::Target(Manner::TwoLengths),
    Trouble::Target(Manner::MoreThanItsLength),
    Trouble::Target(Manner::NotHttp),
    Trouble::Target(Manner::SwitchesProtocols),
    Trouble::Target(Manner::BadChunks),
    Trouble::Target(Manner::KeepsOpen),
    Trouble::Target(Manner::ClosesAlways),
    Trouble::Target(Manner::GoesSilent),
    Trouble::Target(Manner::TlsIsPlain),
    Trouble::Target(Manner::TlsAlerts),
    Trouble::Target(Manner::TlsHangs),
    Trouble::Target(Manner::Flaps),
    Trouble::SlowNames,
];

impl ValueEnum for Trouble {
    fn value_variants<'a>() -> &'a [Self] {
        ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Trouble::Target(manner) => manner.to_possible_value(),
            Trouble::SlowNames => Some(
                PossibleValue::new("slow-names")
                    .help("Three hundred targets whose names nobody answers for"),
            ),
        }
    }
}

impl Trouble {
    /// Measured unless others are named; a relative that costs the bus the same work is not.
    pub(super) fn is_usual(self) -> bool {
        !matches!(
            self,
            Trouble::Target(
                Manner::EndlessErrorBody
                    | Manner::ClosesAtOnce
                    | Manner::ManyHeaders
                    | Manner::TwoLengths
                    | Manner::MoreThanItsLength
                    | Manner::NotHttp
                    | Manner::SwitchesProtocols
                    | Manner::BadChunks
                    | Manner::ClosesAlways
                    | Manner::TlsIsPlain
            )
        )
    }

    pub(super) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manner_can_be_measured() {
        for manner in Manner::value_variants() {
            assert!(ALL.contains(&Trouble::Target(*manner)), "{manner:?}");
        }
        assert_eq!(ALL.len(), Manner::value_variants().len() + 1);
    }
}
