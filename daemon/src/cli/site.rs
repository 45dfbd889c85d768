//! `warrend site ...`: what the owner does with sites of this box.

use std::path::{Path, PathBuf};

use lexopt::{Arg, Parser, ValueExt};

use super::named::find;
use super::options::{Connection, path, port, text, yes_or_no};
use super::show::{self, Options};
use super::{invite, table, usage};
use crate::control::protocol::{HostedSite, Request};
use crate::error::DaemonError;
use crate::transfer::publish::{self, Copied};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Publish,
    Update,
    List,
    Remove,
}

/// A whole command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    action: Action,
    /// What stands without an option.
    word: Option<String>,
    title: Option<String>,
    visible: Option<bool>,
    port: Option<u16>,
    from: Option<PathBuf>,
    settings_only: bool,
    yes: bool,
    json: bool,
    connection: Connection,
}

/// Reads what follows `warrend site`; `None`: somebody wants to know what there is.
pub fn parse(parser: &mut Parser) -> Result<Option<Task>, DaemonError> {
    let action = match parser.next().map_err(usage)? {
        Some(Arg::Long("help") | Arg::Short('h')) => return Ok(None),
        Some(Arg::Value(word)) => word.string().map_err(usage)?,
        _ => String::new(),
    };
    let action = match action.as_str() {
        "publish" => Action::Publish,
        "update" => Action::Update,
        "list" => Action::List,
        "remove" => Action::Remove,
        _ => {
            return Err(usage(
                "`warrend site` needs one of publish, update, list, remove",
            ));
        }
    };
    let mut task = Task {
        action,
        word: None,
        title: None,
        visible: None,
        port: None,
        from: None,
        settings_only: false,
        yes: false,
        json: false,
        connection: Connection::default(),
    };
    let changes = matches!(action, Action::Publish | Action::Update);
    while let Some(argument) = parser.next().map_err(usage)? {
        let known = match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Long("control") => {
                task.connection.control = Some(path(parser)?);
                true
            }
            Arg::Long("config") => {
                task.connection.config = Some(path(parser)?);
                true
            }
            Arg::Long("json") => {
                task.json = true;
                true
            }
            Arg::Long("name") => {
                task.title = Some(text(parser)?);
                changes
            }
            Arg::Long("visible") => {
                task.visible = Some(yes_or_no(parser, "visible")?);
                changes
            }
            Arg::Long("port") => {
                task.port = Some(port(parser)?);
                action == Action::Publish
            }
            Arg::Long("from") => {
                task.from = Some(path(parser)?);
                action == Action::Update
            }
            Arg::Long("settings-only") => {
                task.settings_only = true;
                action == Action::Update
            }
            Arg::Long("yes") => {
                task.yes = true;
                action == Action::Update
            }
            Arg::Value(word) if task.word.is_none() => {
                task.word = Some(word.string().map_err(usage)?);
                true
            }
            other => return Err(usage(other.unexpected())),
        };
        if !known {
            return Err(usage("this `warrend site` command has no such option"));
        }
    }
    if task.settings_only && task.from.is_some() {
        return Err(usage(
            "--settings-only publishes nothing: leave it out, or leave --from out",
        ));
    }
    match (action, &task.word) {
        (Action::List, None) | (Action::Publish | Action::Update | Action::Remove, Some(_)) => {
            Ok(Some(task))
        }
        (Action::List, Some(_)) => Err(usage("`warrend site list` needs no name")),
        (Action::Publish, None) => Err(usage("`warrend site publish` needs a folder")),
        (_, None) => Err(usage(
            "this `warrend site` command needs the name of a site",
        )),
    }
}

impl Task {
    /// Has the daemon do it; what to print.
    pub fn perform(self) -> Result<String, DaemonError> {
        let options = Options {
            socket: self.connection.socket()?,
            json: self.json,
        };
        let config = self.connection.config();
        let word = self.word.clone().unwrap_or_default();
        match self.action {
            Action::List => show::ask(&Request::SiteList {}, &options, list),
            Action::Remove => {
                let request = Request::SiteRemove { site: word };
                show::ask(&request, &options, |site: &HostedSite| {
                    format!(
                        "{} is not published any more. The folder {} is as it was.\n",
                        site.title, site.from
                    )
                })
            }
            Action::Publish => {
                let copied = publish::copy(&options.socket, &config, Path::new(&word))?;
                let request = Request::SitePublish {
                    directory: copied.directory.clone(),
                    from: copied.from.clone(),
                    title: self.title.unwrap_or_else(|| copied.name.clone()),
                    visible: self.visible.unwrap_or(true),
                    port: self.port,
                };
                show::ask(&request, &options, |site: &HostedSite| {
                    format!(
                        "{} is published.\n{}\n{}",
                        site.title,
                        left_out(&copied),
                        details(site)
                    )
                })
            }
            Action::Update => {
                let all: Vec<HostedSite> =
                    crate::control::client::ask(&options.socket, &Request::SiteList {})?;
                let site = find(&all, &word)?;
                if site.visible && self.visible == Some(false) && !self.yes {
                    return Err(usage(format!(
                        "hiding {:?} changes its address, so that who knew it does not find it any more; say so with --yes",
                        site.title
                    )));
                }
                let from = self.from.unwrap_or_else(|| PathBuf::from(&site.from));
                let copies = !self.settings_only && !from.as_os_str().is_empty();
                let copied = copies
                    .then(|| publish::copy(&options.socket, &config, &from))
                    .transpose()?;
                let request = Request::SiteUpdate {
                    site: site.id.clone(),
                    directory: copied.as_ref().map(|copied| copied.directory.clone()),
                    from: copied.as_ref().map(|copied| copied.from.clone()),
                    title: self.title,
                    visible: self.visible,
                };
                show::ask(&request, &options, |site: &HostedSite| {
                    let left = copied.as_ref().map(left_out).unwrap_or_default();
                    format!("{left}{}", details(site))
                })
            }
        }
    }
}

fn left_out(copied: &Copied) -> String {
    match copied.left_out {
        0 => String::new(),
        n => format!(
            "{n} names were left out: links, and what begins with a dot or is no plain file.\n"
        ),
    }
}

fn details(site: &HostedSite) -> String {
    let row = |key: &str, value: String| vec![key.to_owned(), value];
    let rows = vec![
        row("id", site.id.clone()),
        row("address", format!("http://{}.warren/", site.service)),
        row(
            "on this machine",
            site.here.clone().unwrap_or_else(|| "-".into()),
        ),
        row(
            "visible",
            if site.visible { "yes" } else { "no" }.to_owned(),
        ),
        row("port", site.port.to_string()),
        row("folder", site.from.clone()),
        row("published", invite::day(Some(site.published))),
        row(
            "files",
            format!("{}, {} KiB", site.files, site.bytes.div_ceil(1024)),
        ),
    ];
    let mut out = table::render(&["name", &site.title], &rows);
    out.push_str(&format!(
        "A copy is served. What you change in the folder is seen after `warrend site update {}`.\n",
        site.id
    ));
    out
}

#[allow(clippy::ptr_arg)] // The shape of the answer.
fn list(sites: &Vec<HostedSite>) -> String {
    let rows: Vec<Vec<String>> = sites
        .iter()
        .map(|site| {
            vec![
                site.id.clone(),
                site.title.clone(),
                match (site.failed, site.visible) {
                    (true, _) => "failed",
                    (false, true) => "yes",
                    (false, false) => "no",
                }
                .to_owned(),
                invite::day(Some(site.published)),
                site.files.to_string(),
                site.from.clone(),
                format!("{}.warren", site.service),
            ]
        })
        .collect();
    let head = [
        "ID",
        "NAME",
        "VISIBLE",
        "PUBLISHED",
        "FILES",
        "FOLDER",
        "SERVICE",
    ];
    table::render(&head, &rows)
}
