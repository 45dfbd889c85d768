//! Files of the owner, requests on the control socket, and packets from the TUN device.

use std::path::Path;

use warren_mesh::deliver::Checksum;
use warrend::config::{self, template, uci};
use warrend::control::protocol::{self, LINE_MAX};
use warrend::sites::paths;
use warrend::sites::record::SiteRecord;
use warrend::store;
use warrend::tun::coalesce::{self, Offload};
use warrend::tun::header::{IPV6_LEN, VnetHeader};
use warrend::tun::segment;

use crate::input::Input;

const FILE: &str = "fuzzed";

/// A configuration file. An error names a line that exists.
pub fn config(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else {
        return;
    };
    match config::parse(Path::new(FILE), text) {
        Ok(config) => {
            let _ = format!("{config:?}");
        }
        Err(error) => {
            assert!(error.line >= 1 && error.line <= text.matches('\n').count() + 1);
            assert!(error.column >= 1 && !error.message.is_empty());
        }
    }
    let quoted = format!("name = {}", template::quote(text));
    let table: toml::Table = quoted.parse().expect("a quoted text is TOML");
    assert_eq!(table["name"].as_str(), Some(text), "and says the same");
}

/// A UCI file. What converts is TOML, and the daemon's reader has something to say about it.
pub fn uci(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else {
        return;
    };
    match uci::convert(Path::new(FILE), text) {
        Ok(converted) => {
            assert!(converted.parse::<toml::Table>().is_ok());
            let _ = config::parse(Path::new(FILE), &converted);
        }
        Err(error) => assert!(error.line >= 1 && error.line <= text.lines().count().max(1)),
    }
}

/// A line on the control socket. An error can be said in a line.
pub fn control(bytes: &[u8]) {
    match protocol::parse_request(bytes) {
        Ok(request) => {
            let line = serde_json::to_vec(&request).expect("a request is JSON");
            assert_eq!(protocol::parse_request(&line), Ok(request));
        }
        Err(error) => {
            let line = serde_json::to_vec(&error).expect("an error is JSON");
            assert!(line.len() < LINE_MAX && !line.contains(&b'\n'));
        }
    }
}

/// A file of a key or a counter.
pub fn key_file(bytes: &[u8]) {
    if let Some(value) = store::parse_line("number", bytes) {
        assert_eq!(
            store::parse_line("number", store::line("number", value).as_bytes()),
            Some(value)
        );
    }
}

/// What the kernel hands over on TUN: all bytes of the payload come out, once and in order.
pub fn segment(bytes: &[u8]) {
    let Ok((vnet, packet)) = VnetHeader::parse(bytes) else {
        return;
    };
    let mut pieces = 0;
    let mut payloads = Vec::new();
    let split = segment::split(vnet, packet, |head, payload, _| {
        assert!(head.len() >= IPV6_LEN);
        pieces += 1;
        payloads.extend_from_slice(payload);
    });
    if split.is_ok() {
        assert!(pieces >= 1);
        assert!(packet.ends_with(&payloads));
    } else {
        assert_eq!(pieces, 0, "refused as a whole");
    }
}

/// Packets on their way to TUN: as many bytes of payload come out as went in.
pub fn coalesce(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let offload = match input.u8() % 3 {
        0 => Offload::None,
        1 => Offload::Tcp,
        _ => Offload::TcpAndUdp,
    };
    let mut packets = Vec::new();
    while !input.is_empty() && packets.len() < 256 {
        let (start, offset) = (input.u8(), input.u8());
        let checksum = match start {
            0 => Checksum::Complete,
            start => Checksum::Partial {
                start: start.into(),
                offset: offset.into(),
            },
        };
        packets.push((input.sized().to_vec(), checksum));
    }
    let longest = packets.iter().map(|(packet, _)| packet.len()).max();
    let mut writes = 0;
    let count = packets.len();
    let borrowed = packets
        .iter_mut()
        .map(|(packet, checksum)| (packet.as_mut_slice(), *checksum));
    coalesce::write_all(borrowed, offload, |parts| {
        writes += 1;
        let len: usize = parts.iter().map(|part| part.len()).sum();
        assert!(len <= 66_000.max(longest.unwrap_or(0) + 10));
    });
    assert!(writes <= count && (writes > 0) == (count > 0));
}

/// The path of a request to a site, the name of a file in it, and its record.
pub fn site(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else {
        return;
    };
    if let Some(wanted) = paths::wanted(text) {
        assert!(wanted.names.iter().all(|name| paths::is_part(name)));
        assert!(wanted.names.len() <= paths::DEPTH_MAX);
    }
    if let Some(parts) = paths::parts(text) {
        assert_eq!(parts.join("/"), text);
    }
    if let Some(record) = SiteRecord::parse(text) {
        assert_eq!(SiteRecord::parse(&record.render()), Some(record));
    }
}
