//! Why a device does not update now.
//!
//! Invariant: each is a sentence for people and a word for programs.

use osbuild_format::target::LIMIT_MEMORY_BYTES;
use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum NotNow {
    /// No release of the repository is newer.
    UpToDate,
    /// Nothing that is understood here is newer, and so many targets are described in a way that is not known here.
    NotUnderstood { targets: u64 },
    /// Others take it first.
    NotInRollout { version: String, percent: u8 },
    /// It has been tried.
    Denied { version: String },
    /// Its security epoch is behind the one that this device has committed.
    Epoch { version: String, epoch: u32, committed: u32 },
    /// To apply its payload takes more memory than an update may have here.
    TooMuchMemory { version: String, bytes: u64 },
    /// Nothing leads there from the release that runs but a full payload, which the product does not allow unasked.
    NeedsConsent { version: String, size_bytes: u64 },
    /// What runs is not what the delta was made from, and there is no full payload.
    SourceDamaged { version: String },
    /// The repository has no payload that leads there from here.
    NoPayload { version: String },
    /// The next check comes at this time.
    NotDue { at_seconds: u64 },
    /// The maintenance window opens at this time.
    OutsideWindow { at_seconds: u64 },
    /// A service or a person has put it off until this time.
    Deferred { until_seconds: u64 },
    /// Nobody has said what time it is, and the window is one of the day.
    NoTime,
}

impl NotNow {
    /// For programs: what `why` is in JSON.
    pub fn word(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        value.get("why").and_then(|why| why.as_str()).unwrap_or_default().to_owned()
    }
}

impl std::fmt::Display for NotNow {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            NotNow::UpToDate => write!(f, "no newer release is offered"),
            NotNow::NotUnderstood { targets } => write!(
                f,
                "no newer release is offered in a way that is understood here; {targets} targets are described in another, as by a later \
                 osbuild: the repository has to offer a release in between"
            ),
            NotNow::NotInRollout { version, percent } => {
                write!(f, "{version} is for {percent} % of the devices so far, and this is none of them")
            }
            NotNow::Denied { version } => write!(f, "{version} was tried here and was not healthy"),
            NotNow::Epoch { version, epoch, committed } => {
                write!(f, "{version} has the security epoch {epoch}, and this device has committed: {committed}")
            }
            NotNow::TooMuchMemory { version, bytes } => write!(
                f,
                "the payload that leads to {version} says that it takes {bytes} bytes of memory; an update may take \
                 {LIMIT_MEMORY_BYTES} here"
            ),
            NotNow::NeedsConsent { version, size_bytes } => write!(
                f,
                "only a full payload of {size_bytes} bytes leads to {version} from here; `osagent update install --full` consents"
            ),
            NotNow::SourceDamaged { version } => write!(
                f,
                "the delta to {version} does not fit what lies in this device's slot, and there is no full payload"
            ),
            NotNow::NoPayload { version } => write!(f, "no payload leads to {version} from here"),
            NotNow::NotDue { at_seconds } => write!(f, "the next check comes at {at_seconds} s since 1970"),
            NotNow::OutsideWindow { at_seconds } => {
                write!(f, "the maintenance window opens at {at_seconds} s since 1970")
            }
            NotNow::Deferred { until_seconds } => write!(f, "it is put off until {until_seconds} s since 1970"),
            NotNow::NoTime => write!(f, "the time of day is not known, and updates have a window"),
        }
    }
}
