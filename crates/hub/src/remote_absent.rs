//! Stands for `remote` where the feature `http` is off: a hub of which no value exists, so that nothing else has to
//! tell the two builds apart.

use std::path::PathBuf;

use crate::cache::RepoCache;
use crate::settings::Settings;
use crate::{CancelToken, HubError, Offline, Progress, RepoType, UploadFile};

pub(crate) enum Remote {}

impl Remote {
    /// Never succeeds. Not reached: the settings of this build are always offline.
    pub(crate) fn new(repo: &str, _: RepoType, settings: &Settings) -> Result<Self, HubError> {
        let (what, cache) = (format!("`{repo}`"), settings.cache.clone());
        Err(HubError::NotCached {
            what,
            cache,
            offline: Offline::NotBuilt,
        })
    }

    pub(crate) fn user(&self) -> Result<String, HubError> {
        match *self {}
    }

    pub(crate) fn create(&self, _: Option<bool>) -> Result<(), HubError> {
        match *self {}
    }

    pub(crate) fn create_branch(&self, _: &str) -> Result<(), HubError> {
        match *self {}
    }

    pub(crate) fn upload(
        &self,
        _: &str,
        _: &str,
        _: Vec<UploadFile>,
    ) -> Result<Option<String>, HubError> {
        match *self {}
    }

    pub(crate) fn commit(&self, _: &str) -> Result<String, HubError> {
        match *self {}
    }

    pub(crate) fn list(&self, _: &str) -> Result<Vec<String>, HubError> {
        match *self {}
    }

    pub(crate) fn fetch(
        &self,
        _: &str,
        _: &str,
        _: &RepoCache,
        _: bool,
        _: Option<&dyn Progress>,
        _: Option<&CancelToken>,
    ) -> Result<Option<PathBuf>, HubError> {
        match *self {}
    }
}
