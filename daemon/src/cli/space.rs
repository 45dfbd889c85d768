//! `warrend space ...`: what the owner does with spaces of this box.

use std::path::{Path, PathBuf};

use lexopt::{Arg, Parser, ValueExt};

use super::named::find;
use super::options::{Connection, number, path, port, text, yes_or_no};
use super::show::{self, Options};
use super::{invite, table, usage};
use crate::control::client;
use crate::control::protocol::{HostedSpace, Request, SpaceState};
use crate::error::DaemonError;
use crate::transfer::archive;
use crate::transfer::incoming::Place;
use crate::transfer::publish;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make one.
    Create,
    /// All, with their settings.
    List,
    /// One, with its settings.
    Show,
    /// Change settings.
    Set,
    /// Remove one.
    Remove,
    /// Into one file.
    Export,
    /// Out of one file.
    Import,
    /// Make an invitation.
    Invite,
    /// Those that are open.
    ListInvites,
    /// Take one back.
    RevokeInvite,
}

/// A whole command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    action: Action,
    /// What stands without an option.
    words: Vec<String>,
    about: Option<String>,
    title: Option<String>,
    visible: Option<bool>,
    closed: Option<bool>,
    port: Option<u16>,
    owner: Option<String>,
    quota_mib: Option<u32>,
    files_quota_mib: Option<u32>,
    member_quota_mib: Option<u32>,
    picture: Option<PathBuf>,
    uses: Option<u32>,
    days: Option<u32>,
    role: Option<String>,
    channel: Option<String>,
    yes: bool,
    moves: bool,
    json: bool,
    connection: Connection,
}

/// Reads what follows `warrend space`; `None`: somebody wants to know what there is.
pub fn parse(parser: &mut Parser) -> Result<Option<Task>, DaemonError> {
    let action = match parser.next().map_err(usage)? {
        Some(Arg::Long("help") | Arg::Short('h')) => return Ok(None),
        Some(Arg::Value(word)) => word.string().map_err(usage)?,
        _ => String::new(),
    };
    let action = match action.as_str() {
        "create" => Action::Create,
        "list" => Action::List,
        "show" => Action::Show,
        "set" => Action::Set,
        "remove" => Action::Remove,
        "export" => Action::Export,
        "import" => Action::Import,
        "invite" => Action::Invite,
        "list-invites" => Action::ListInvites,
        "revoke-invite" => Action::RevokeInvite,
        _ => {
            return Err(usage(
                "`warrend space` needs one of create, list, show, set, remove, export, import, invite, list-invites, revoke-invite",
            ));
        }
    };
    let mut task = Task {
        action,
        words: Vec::new(),
        about: None,
        title: None,
        visible: None,
        closed: None,
        port: None,
        owner: None,
        quota_mib: None,
        files_quota_mib: None,
        member_quota_mib: None,
        picture: None,
        uses: None,
        days: None,
        role: None,
        channel: None,
        yes: false,
        moves: false,
        json: false,
        connection: Connection::default(),
    };
    while let Some(argument) = parser.next().map_err(usage)? {
        let sets = task.action == Action::Set;
        let creates = task.action == Action::Create;
        let invites = task.action == Action::Invite;
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
            Arg::Long("visible") if creates => {
                task.visible = Some(true);
                true
            }
            Arg::Long("visible") => {
                task.visible = Some(yes_or_no(parser, "visible")?);
                sets
            }
            Arg::Long("closed") => {
                task.closed = Some(yes_or_no(parser, "closed")?);
                sets
            }
            Arg::Long("about") => {
                task.about = Some(text(parser)?);
                sets || creates
            }
            Arg::Long("name") => {
                task.title = Some(text(parser)?);
                sets
            }
            Arg::Long("quota") => {
                task.quota_mib = Some(number(parser, "--quota needs a number of MiB")?);
                sets
            }
            Arg::Long("files-quota") => {
                let needs = "--files-quota needs a number of MiB";
                task.files_quota_mib = Some(number(parser, needs)?);
                sets
            }
            Arg::Long("member-quota") => {
                let needs = "--member-quota needs a number of MiB";
                task.member_quota_mib = Some(number(parser, needs)?);
                sets
            }
            Arg::Long("picture") => {
                task.picture = Some(path(parser)?);
                sets
            }
            Arg::Long("uses") => {
                task.uses = Some(number(parser, "--uses needs a number of people")?);
                invites
            }
            Arg::Long("expires") => {
                task.days = Some(number(parser, "--expires needs a number of days")?);
                invites
            }
            Arg::Long("role") => {
                task.role = Some(text(parser)?);
                invites
            }
            Arg::Long("channel") => {
                task.channel = Some(text(parser)?);
                invites
            }
            Arg::Long("port") => {
                task.port = Some(port(parser)?);
                creates
            }
            Arg::Long("owner") => {
                task.owner = Some(text(parser)?);
                sets || creates
            }
            Arg::Long("yes") => {
                task.yes = true;
                sets || task.action == Action::Remove
            }
            Arg::Long("move") => {
                task.moves = true;
                task.action == Action::Export
            }
            Arg::Value(word) => {
                task.words.push(word.string().map_err(usage)?);
                true
            }
            other => return Err(usage(other.unexpected())),
        };
        if !known {
            return Err(usage("this `warrend space` command has no such option"));
        }
    }
    task.check().map(Some)
}

impl Task {
    fn check(self) -> Result<Self, DaemonError> {
        let (words, names) = match self.action {
            Action::Create => (1, "a title, such as \"Garden club\""),
            Action::List => (0, "no name"),
            Action::Show | Action::Set | Action::Invite | Action::ListInvites => {
                (1, "the name of a space")
            }
            Action::RevokeInvite => (2, "the name of a space and the id of an invitation"),
            Action::Remove => (1, "the name of a space"),
            Action::Export => (2, "the name of a space and a file"),
            Action::Import => (1, "a file"),
        };
        if self.words.len() != words {
            return Err(usage(format!("this `warrend space` command needs {names}")));
        }
        if self.action == Action::Remove && !self.yes {
            return Err(usage(format!(
                "removing {:?} deletes its messages, files and keys from this box for good; say so with --yes (`warrend space export` keeps a copy)",
                self.words[0]
            )));
        }
        Ok(self)
    }

    /// The service of a visible space that is about to be hidden, which gives it another one: only where that is meant.
    fn address_before_hiding(&self, socket: &Path) -> Result<Option<String>, DaemonError> {
        if self.visible != Some(false) {
            return Ok(None);
        }
        let all: Vec<HostedSpace> = client::ask(socket, &Request::SpaceList {})?;
        // Where there is none of this name, the daemon says so.
        let found = find(&all, &self.words[0]).ok();
        let Some(space) = found.filter(|space| space.visible && !space.configured) else {
            return Ok(None);
        };
        if self.yes {
            return Ok(Some(space.service.clone()));
        }
        Err(usage(format!(
            "hiding {:?} changes its address, so that who knew it does not find it any more: all links and invitations stop working, also those of its members; say so with --yes",
            space.title
        )))
    }

    /// Has the daemon do it; what to print.
    pub fn perform(self) -> Result<String, DaemonError> {
        let options = Options {
            socket: self.connection.socket()?,
            json: self.json,
        };
        let word = |n: usize| self.words.get(n).cloned().unwrap_or_default();
        match self.action {
            Action::Create => {
                let request = Request::SpaceCreate {
                    title: word(0),
                    about: self.about.unwrap_or_default(),
                    visible: self.visible.unwrap_or(false),
                    port: self.port,
                    owner: self.owner,
                };
                show::ask(&request, &options, created)
            }
            Action::List => show::ask(&Request::SpaceList {}, &options, list),
            Action::Show => {
                let all: Vec<HostedSpace> = client::ask(&options.socket, &Request::SpaceList {})?;
                show::render(find(&all, &word(0))?, &options, details)
            }
            Action::Set => {
                let before = self.address_before_hiding(&options.socket)?;
                let config = self.connection.config();
                let copied = self.picture.as_ref();
                let copied = copied
                    .map(|picture| publish::picture(&options.socket, &config, picture))
                    .transpose()?;
                let request = Request::SpaceSet {
                    space: word(0),
                    title: self.title,
                    about: self.about,
                    visible: self.visible,
                    quota_mib: self.quota_mib,
                    files_quota_mib: self.files_quota_mib,
                    member_quota_mib: self.member_quota_mib,
                    closed: self.closed,
                    owner: self.owner,
                    picture: copied.as_ref().map(|copied| copied.directory.clone()),
                };
                show::ask(&request, &options, |space: &HostedSpace| {
                    let told = before.as_ref().filter(|old| **old != space.service);
                    let told = told.map(|old| moved(old, space)).unwrap_or_default();
                    format!("{told}{}", details(space))
                })
            }
            Action::Invite => {
                let request = Request::SpaceInvite {
                    space: word(0),
                    uses: self.uses,
                    days: self.days,
                    role: self.role,
                    channel: self.channel,
                };
                show::ask(&request, &options, invite::made)
            }
            Action::ListInvites => {
                let request = Request::SpaceInvites { space: word(0) };
                show::ask(&request, &options, invite::list)
            }
            Action::RevokeInvite => {
                let request = Request::SpaceRevokeInvite {
                    space: word(0),
                    invite: word(1),
                };
                show::ask(&request, &options, |_: &serde_json::Value| {
                    String::from("Nobody comes in with it any more. Who came in before stays.\n")
                })
            }
            Action::Remove => {
                let request = Request::SpaceRemove { space: word(0) };
                show::ask(&request, &options, |space: &HostedSpace| {
                    format!(
                        "{} is removed, with all that belonged to it.\n",
                        space.title
                    )
                })
            }
            Action::Export => {
                let file = PathBuf::from(word(1));
                let summary = if self.moves {
                    export_to_move(&options.socket, &word(0), &file)?
                } else {
                    archive::export(&options.socket, &word(0), &file)?
                };
                let moved = if self.moves {
                    format!(
                        "The space is closed here. When it runs on the other box, remove it: warrend space remove {} --yes\n",
                        summary.id
                    )
                } else {
                    String::new()
                };
                Ok(format!(
                    "{}: {} messages and more, {} files are in {}.\n\
                     Who has this file has the space: it holds its keys. Keep it from others, and never let two boxes serve it.\n{moved}",
                    summary.title,
                    summary.events,
                    summary.files,
                    file.display()
                ))
            }
            Action::Import => {
                let file = PathBuf::from(word(0));
                let config = self.connection.config();
                let summary = archive::import(&Place::find(&config)?, &file)?;
                Ok(format!(
                    "{} is here as {}: {} messages and more, {} files. Its address and its invitations stay as they were.\n\
                     The box it came from must not serve it any more.\n",
                    summary.title, summary.id, summary.events, summary.files
                ))
            }
        }
    }
}

fn set_closed(socket: &Path, space: &str, closed: bool) -> Result<HostedSpace, DaemonError> {
    client::ask(socket, &Request::set_closed(space.to_owned(), closed))
}

/// Closes a space before all of it is written, so that nothing comes in afterwards. Where the file does not come about,
/// the space is as it was.
fn export_to_move(
    socket: &Path,
    space: &str,
    file: &Path,
) -> Result<archive::Summary, DaemonError> {
    let all: Vec<HostedSpace> = client::ask(socket, &Request::SpaceList {})?;
    let was_open = find(&all, space)?.state == SpaceState::Open;
    set_closed(socket, space, true)?;
    archive::export(socket, space, file).map_err(|failed| {
        if !was_open || set_closed(socket, space, false).is_ok() {
            return failed;
        }
        DaemonError::Refused(format!(
            "{failed}\nThe space is still closed; open it with: warrend space set {space} --closed no"
        ))
    })
}

fn created(space: &HostedSpace) -> String {
    let who = match &space.owner {
        Some(_) => "Its owner may do everything in it.",
        None => "It has no owner: every member may make channels.",
    };
    format!("{} is there. {who}\n\n{}", space.title, details(space))
}

fn moved(old: &str, space: &HostedSpace) -> String {
    format!(
        "The address has changed; links and invitations of before do not work any more.\n\
         before: ws://{old}.warren/\n\
         now:    ws://{}.warren/\n\n",
        space.service
    )
}

fn details(space: &HostedSpace) -> String {
    let yes = |set: bool| if set { "yes" } else { "no" }.to_owned();
    let row = |key: &str, value: String| vec![key.to_owned(), value];
    let mut rows = vec![
        row("id", space.id.clone()),
        row("about", space.about.replace('\n', " ")),
        row("address", format!("ws://{}.warren/", space.service)),
        row("state", state(space).to_owned()),
        row("visible", yes(space.visible)),
        row("port", space.port.to_string()),
        row(
            "owner",
            space.owner.clone().unwrap_or_else(|| "nobody".into()),
        ),
        row("quota", format!("{} MiB", space.quota_mib)),
        row(
            "quota of files",
            format!(
                "{} MiB, {} MiB of one member",
                space.files_quota_mib, space.member_quota_mib
            ),
        ),
        row(
            "picture",
            space.picture.clone().unwrap_or_else(|| "none".into()),
        ),
        row("in the configuration", yes(space.configured)),
    ];
    if let Some(figures) = &space.figures {
        rows.push(row("members", figures.members.to_string()));
        rows.push(row("channels", figures.channels.to_string()));
        rows.push(row(
            "stored",
            format!(
                "{} messages and more, {} KiB",
                figures.events,
                figures.bytes.div_ceil(1024)
            ),
        ));
        rows.push(row(
            "files",
            format!("{} KiB", figures.file_bytes.div_ceil(1024)),
        ));
    }
    table::render(&["name", &space.title], &rows)
}

const fn state(space: &HostedSpace) -> &'static str {
    match space.state {
        SpaceState::Open => "open",
        SpaceState::Closed => "closed",
        SpaceState::Failed => "failed",
    }
}

#[allow(clippy::ptr_arg)] // The shape of the answer.
fn list(spaces: &Vec<HostedSpace>) -> String {
    let rows: Vec<Vec<String>> = spaces
        .iter()
        .map(|space| {
            let members = space
                .figures
                .map_or("-".to_owned(), |figures| figures.members.to_string());
            vec![
                space.id.clone(),
                space.title.clone(),
                state(space).to_owned(),
                if space.visible { "yes" } else { "no" }.to_owned(),
                space.port.to_string(),
                members,
                format!("{}.warren", space.service),
            ]
        })
        .collect();
    let head = [
        "ID", "NAME", "STATE", "VISIBLE", "PORT", "MEMBERS", "SERVICE",
    ];
    table::render(&head, &rows)
}
