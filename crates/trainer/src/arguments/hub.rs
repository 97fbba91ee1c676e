//! The arguments about uploads.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `hub_strategy`: what is uploaded, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HubStrategy {
    /// The model, when [`Trainer::save_model`](crate::Trainer::save_model) or
    /// [`push_to_hub`](crate::Trainer::push_to_hub) is called.
    End,
    /// The model of every checkpoint too, while the training goes on.
    #[default]
    EverySave,
    /// And the checkpoint itself, as `last-checkpoint`.
    Checkpoint,
    /// And all checkpoints under their names.
    AllCheckpoints,
}

/// `hub_token`: a secret, which is neither shown nor written.
#[derive(Clone, PartialEq, Eq)]
pub struct HubToken(String);

/// What is written in its place, as the reference does.
pub(super) const HIDDEN: &str = "<HUB_TOKEN>";

impl HubToken {
    /// The token itself.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl From<&str> for HubToken {
    fn from(token: &str) -> Self {
        Self(token.to_owned())
    }
}

impl fmt::Debug for HubToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for HubToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

impl<'de> Deserialize<'de> for HubToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

/// A token; what stands in the place of one is none.
pub(super) fn token<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<HubToken>, D::Error> {
    let token = Option::<HubToken>::deserialize(deserializer)?;
    Ok(token.filter(|token| token.0 != HIDDEN && !token.0.is_empty()))
}
