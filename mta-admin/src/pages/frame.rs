//! What every page behind the login has around it: navigation, hosts, user, notice.

use std::sync::Arc;

use axum::http::StatusCode;

use super::{encode_query, error::PageError};
use crate::{
    middleware::login::Visitor,
    state::{App, NamedDaemon},
};

/// A part of the administration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Messages.
    Queue,
    /// Statistics.
    Stats,
}

/// The surroundings of a page.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Who looks at it.
    pub username: String,
    /// The token for its forms.
    pub csrf: String,
    /// The part of the administration it belongs to.
    pub section: Section,
    /// The host it is about.
    pub host: String,
    /// All hosts.
    pub hosts: Vec<String>,
    /// What happened before it.
    pub notice: Option<String>,
}

impl Frame {
    /// Makes the frame of a page about `host`.
    pub fn new(app: &Arc<App>, visitor: &Visitor, section: Section, host: &NamedDaemon) -> Self {
        Self {
            username: visitor.session.username.clone(),
            csrf: visitor.session.csrf.clone(),
            section,
            host: host.name.clone(),
            hosts: app.hosts.iter().map(|host| host.name.clone()).collect(),
            notice: app.sessions.take_notice(&visitor.token),
        }
    }

    /// Says whether hosts must be told apart.
    #[must_use]
    pub fn has_hosts(&self) -> bool {
        self.hosts.len() > 1
    }

    /// A path of this host: with its name when there are several.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.url_of(path, &self.host)
    }

    /// The start page of this part for another host.
    #[must_use]
    pub fn switch(&self, host: &str) -> String {
        let path = match self.section {
            Section::Queue => "/queue",
            Section::Stats => "/stats",
        };
        self.url_of(path, host)
    }

    fn url_of(&self, path: &str, host: &str) -> String {
        if self.has_hosts() {
            format!("{path}?{}", encode_query([("host", host)]))
        } else {
            path.to_owned()
        }
    }

    /// Puts an error into this frame.
    #[must_use]
    pub fn fail(&self, error: impl Into<PageError>) -> PageError {
        error.into().within(self.clone())
    }
}

/// Finds the host with this name, or the first when none is named.
///
/// # Errors
///
/// A page that says which hosts there are.
pub fn host<'a>(app: &'a App, name: Option<&str>) -> Result<&'a NamedDaemon, PageError> {
    let found = match name {
        None => app.hosts.first(),
        Some(name) => app.hosts.iter().find(|host| host.name == name),
    };
    found.ok_or_else(|| {
        PageError::new(StatusCode::NOT_FOUND, "There is no such host")
            .with_hint("The hosts are those of hosts[] in web.yaml.")
    })
}
