//! What a person means by a name: an id or a service, or a title that only one has. The daemon looks in the same way.

use crate::control::protocol::{HostedSite, HostedSpace};
use crate::error::DaemonError;

/// What can be named.
pub trait Named {
    /// What it is, for a person.
    const WHAT: &str;
    /// Id, service and title.
    fn names(&self) -> [&str; 3];
}

impl Named for HostedSpace {
    const WHAT: &str = "space";
    fn names(&self) -> [&str; 3] {
        [&self.id, &self.service, &self.title]
    }
}

impl Named for HostedSite {
    const WHAT: &str = "site";
    fn names(&self) -> [&str; 3] {
        [&self.id, &self.service, &self.title]
    }
}

/// The one that is meant.
pub fn find<'a, T: Named>(all: &'a [T], wanted: &str) -> Result<&'a T, DaemonError> {
    let service = wanted.trim_end_matches(".warren");
    let exact = |one: &&T| one.names()[0] == wanted || one.names()[1] == service;
    let mut titled = all.iter().filter(|one| one.names()[2] == wanted);
    let what = T::WHAT;
    match (all.iter().find(exact), titled.next(), titled.next()) {
        (Some(one), ..) | (None, Some(one), None) => Ok(one),
        (None, Some(_), Some(_)) => Err(DaemonError::Refused(format!(
            "there are several called {wanted:?} here; name the {what} by its id: `warrend {what} list` shows it"
        ))),
        (None, None, _) => Err(DaemonError::Refused(format!(
            "there is no {what} {wanted:?} here; `warrend {what} list` shows what there is"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(id: &str, title: &str) -> HostedSite {
        HostedSite {
            id: id.into(),
            service: format!("service-of-{id}"),
            title: title.into(),
            visible: true,
            port: 80,
            here: None,
            from: String::new(),
            published: 0,
            files: 0,
            bytes: 0,
            failed: false,
        }
    }

    #[test]
    fn an_id_or_service_counts_before_a_title_and_a_title_that_two_have_names_neither() {
        let all = [
            site("a", "b"),
            site("b", "c"),
            site("d", "twice"),
            site("e", "twice"),
        ];
        let id = |wanted: &str| find(&all, wanted).map(|site| site.id.as_str()).ok();
        assert_eq!(id("b"), Some("b"));
        assert_eq!(id("c"), Some("b"));
        assert_eq!(id("service-of-a.warren"), Some("a"));
        assert_eq!((id("twice"), id("nothing")), (None, None));
    }
}
