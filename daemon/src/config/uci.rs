//! From an OpenWrt UCI file to the daemon's configuration. The file is parsed here and the result is written as TOML, so
//! no value ever passes through a shell. Unknown sections and options are errors with their line.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// A wrong UCI file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}", file = file.display())]
pub struct UciError {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// What was found and what was expected.
    pub message: String,
}

/// A section of a UCI file: `config KIND 'NAME'` and what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its line, from 1.
    pub line: usize,
    /// Its type.
    pub kind: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Options and list elements in order.
    pub entries: Vec<Entry>,
}

/// An option or a list element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its line, from 1.
    pub line: usize,
    /// Whether it was written as `list`.
    pub list: bool,
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

const LINE_MAX: usize = 4096;
const SECTIONS_MAX: usize = 256;
const ENTRIES_MAX: usize = 256;

type Wrong = (usize, String);

/// The sections of a UCI file.
pub fn parse(text: &str) -> Result<Vec<Section>, Wrong> {
    let mut sections: Vec<Section> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.len() > LINE_MAX {
            return Err((
                number,
                format!(
                    "found a line of {} bytes, expected at most {LINE_MAX}",
                    line.len()
                ),
            ));
        }
        let words = words(line).map_err(|message| (number, message))?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            [] | ["package", _] => {}
            ["config", kind, name @ ..] if name.len() <= 1 => {
                if sections.len() >= SECTIONS_MAX {
                    return Err((number, format!("found more than {SECTIONS_MAX} sections")));
                }
                sections.push(Section {
                    line: number,
                    kind: (*kind).to_owned(),
                    name: name.first().map(|name| (*name).to_owned()),
                    entries: Vec::new(),
                });
            }
            [what @ ("option" | "list"), key, value] => {
                let Some(section) = sections.last_mut() else {
                    return Err((number, format!("found {what:?} before any \"config\"")));
                };
                if section.entries.len() >= ENTRIES_MAX {
                    return Err((
                        number,
                        format!("found more than {ENTRIES_MAX} options in one section"),
                    ));
                }
                section.entries.push(Entry {
                    line: number,
                    list: *what == "list",
                    key: (*key).to_owned(),
                    value: (*value).to_owned(),
                });
            }
            [first, ..] => {
                let first: String = first.chars().take(40).collect();
                return Err((
                    number,
                    format!(
                        "found {first:?} and {} words behind it, expected \"config TYPE [NAME]\", \"option KEY VALUE\" or \"list KEY VALUE\"",
                        words.len() - 1
                    ),
                ));
            }
        }
    }
    Ok(sections)
}

/// The words of a line, as libuci reads them: quotes keep spaces, a backslash keeps one character, # begins a comment.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' => words.extend(word.take()),
            '#' if word.is_none() => break,
            '\'' | '"' => {
                let text = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => {
                            return Err(format!(
                                "found no closing {c}, expected one on the same line"
                            ));
                        }
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => text.extend(chars.next()),
                        Some(other) => text.push(other),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

/// The daemon's configuration for a UCI file's text; `file` is for messages.
pub fn convert(file: &Path, text: &str) -> Result<String, UciError> {
    parse(text)
        .and_then(|sections| build(&sections))
        .map_err(|(line, message)| UciError {
            file: file.to_path_buf(),
            line,
            message,
        })
}

fn build(sections: &[Section]) -> Result<String, Wrong> {
    let mut root = Table::new();
    root.insert("version".into(), Value::Integer(1));
    root.insert("state".into(), "/etc/warren".into());
    let mut interfaces = Vec::new();
    let mut spaces = Vec::new();
    let mut exports = Vec::new();
    for section in sections {
        match section.kind.as_str() {
            "warren" => main_section(section, &mut root)?,
            "interface" => interfaces.push(interface(section)?),
            "udp" => {
                let mut udp = Table::new();
                for entry in &section.entries {
                    match (entry.key.as_str(), entry.list) {
                        ("enabled", false) => {}
                        ("listen", false) => insert(&mut udp, "listen", entry),
                        ("peer", true) => append(&mut udp, "peers", entry),
                        _ => return Err(unknown(entry, "option listen, list peer")),
                    }
                }
                if is_enabled(section)? {
                    child(&mut root, "mesh").insert("udp".into(), Value::Table(udp));
                }
            }
            "space" => spaces.push(space(section)?),
            "export" => exports.push(export(section)?),
            other => {
                let message = format!(
                    "found section type {other:?}, expected warren, interface, udp, space or export"
                );
                return Err((section.line, message));
            }
        }
    }
    let enabled = |all: Vec<Option<Table>>| {
        all.into_iter()
            .flatten()
            .map(Value::Table)
            .collect::<Vec<_>>()
    };
    let interfaces = enabled(interfaces);
    if !interfaces.is_empty() {
        child(&mut root, "mesh").insert("interface".into(), Value::Array(interfaces));
    }
    let spaces = enabled(spaces);
    if !spaces.is_empty() {
        root.insert("space".into(), Value::Array(spaces));
    }
    let exports = enabled(exports);
    if !exports.is_empty() {
        root.insert("export".into(), Value::Array(exports));
    }
    root.entry("name").or_insert_with(|| "OpenWrt".into());
    toml::to_string(&root).map_err(|error| (1, error.to_string()))
}

fn main_section(section: &Section, root: &mut Table) -> Result<(), Wrong> {
    for entry in &section.entries {
        match (entry.key.as_str(), entry.list) {
            // The init script's business.
            ("enabled" | "names_interface", false) => {}
            (key @ ("name" | "state" | "user"), false) => insert(root, key, entry),
            ("log_level", false) => insert(child(root, "log"), "level", entry),
            (key @ ("passphrase_file" | "aes"), false) => insert(child(root, "mesh"), key, entry),
            ("network", false) => insert(child(root, "network"), "mode", entry),
            ("tun", false) => insert(child(root, "network"), "tun", entry),
            ("open", true) => append(child(root, "network"), "open", entry),
            ("control", false) => insert(child(root, "control"), "socket", entry),
            ("web", true) => append(child(root, "web"), "listen", entry),
            ("web_name", true) => append(child(root, "web"), "names", entry),
            ("feed_relay", true) => append(child(root, "feed"), "relays", entry),
            ("feed_ca_file", false) => insert(child(root, "feed"), "ca_file", entry),
            ("metrics", false) => insert(child(root, "metrics"), "listen", entry),
            ("metrics_token_file", false) => insert(child(root, "metrics"), "token_file", entry),
            ("backup_dir", false) => insert(child(root, "backup"), "dir", entry),
            ("backup_every", false) => insert(child(root, "backup"), "every", entry),
            _ => {
                return Err(unknown(
                    entry,
                    "option enabled, name, state, user, log_level, passphrase_file, aes, network, tun, control, feed_ca_file, metrics, metrics_token_file, backup_dir, backup_every, names_interface; list open, web, web_name, feed_relay",
                ));
            }
        }
    }
    Ok(())
}

fn interface(section: &Section) -> Result<Option<Table>, Wrong> {
    let mut table = Table::new();
    if let Some(name) = &section.name {
        table.insert("name".into(), name.as_str().into());
    }
    for entry in &section.entries {
        match (entry.key.as_str(), entry.list) {
            ("enabled", false) => {}
            (key @ ("name" | "throughput"), false) => insert(&mut table, key, entry),
            ("raise_mtu", false) => {
                table.insert("raise_mtu".into(), Value::Boolean(boolean(entry)?));
            }
            _ => {
                return Err(unknown(
                    entry,
                    "option enabled, name, throughput, raise_mtu",
                ));
            }
        }
    }
    Ok(is_enabled(section)?.then_some(table))
}

fn space(section: &Section) -> Result<Option<Table>, Wrong> {
    let mut table = Table::new();
    if let Some(name) = &section.name {
        table.insert("id".into(), name.as_str().into());
    }
    for entry in &section.entries {
        match (entry.key.as_str(), entry.list) {
            ("enabled", false) => {}
            (key @ ("id" | "name" | "owner"), false) => insert(&mut table, key, entry),
            ("visible", false) => {
                table.insert("visible".into(), Value::Boolean(boolean(entry)?));
            }
            ("port", false) => {
                let port = number(entry, "a number from 1 to 65535")?;
                table.insert("port".into(), Value::Integer(port));
            }
            _ => {
                return Err(unknown(
                    entry,
                    "option enabled, id, name, visible, port, owner",
                ));
            }
        }
    }
    Ok(is_enabled(section)?.then_some(table))
}

fn export(section: &Section) -> Result<Option<Table>, Wrong> {
    let mut table = Table::new();
    for entry in &section.entries {
        match (entry.key.as_str(), entry.list) {
            ("enabled", false) => {}
            (key @ ("space" | "dir" | "every"), false) => insert(&mut table, key, entry),
            ("keep", false) => {
                let keep = number(entry, "how many files are kept, 1 or more")?;
                table.insert("keep".into(), Value::Integer(keep));
            }
            _ => return Err(unknown(entry, "option enabled, space, dir, every, keep")),
        }
    }
    Ok(is_enabled(section)?.then_some(table))
}

fn number(entry: &Entry, expected: &str) -> Result<i64, Wrong> {
    entry.value.parse().map_err(|_| {
        let message = format!("found {} {:?}, expected {expected}", entry.key, entry.value);
        (entry.line, message)
    })
}

fn is_enabled(section: &Section) -> Result<bool, Wrong> {
    section
        .entries
        .iter()
        .find(|entry| entry.key == "enabled")
        .map_or(Ok(true), boolean)
}

fn boolean(entry: &Entry) -> Result<bool, Wrong> {
    // What libuci's own helpers take.
    match entry.value.as_str() {
        "1" | "on" | "true" | "yes" | "enabled" => Ok(true),
        "0" | "off" | "false" | "no" | "disabled" => Ok(false),
        other => Err((
            entry.line,
            format!("found {other:?} for {}, expected 1 or 0", entry.key),
        )),
    }
}

fn insert(table: &mut Table, key: &str, entry: &Entry) {
    table.insert(key.to_owned(), entry.value.as_str().into());
}

fn append(table: &mut Table, key: &str, entry: &Entry) {
    let list = table.entry(key).or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(list) = list {
        list.push(entry.value.as_str().into());
    }
}

fn child<'a>(table: &'a mut Table, key: &str) -> &'a mut Table {
    let value = table
        .entry(key)
        .or_insert_with(|| Value::Table(Table::new()));
    match value {
        Value::Table(child) => child,
        // Only this file fills the table, and always with tables here.
        _ => unreachable!("{key} is always a table"),
    }
}

fn unknown(entry: &Entry, expected: &str) -> Wrong {
    let kind = if entry.list { "list" } else { "option" };
    (
        entry.line,
        format!("found {kind} {:?}, expected {expected}", entry.key),
    )
}
