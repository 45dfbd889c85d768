//! The commented configuration file that `warrend init` writes. Values are escaped as TOML, whatever they hold.

use std::path::Path;

use super::Mode;

/// What `init` was told.
#[derive(Clone, Debug)]
pub struct Answers<'a> {
    /// The node's name.
    pub name: &'a str,
    /// Directory of keys and data.
    pub state: &'a Path,
    /// The control socket.
    pub socket: &'a Path,
    /// How programs reach the mesh.
    pub mode: Mode,
    /// Interfaces of the mesh.
    pub interfaces: &'a [String],
}

/// A TOML string.
pub fn quote(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// The file's text.
pub fn render(answers: &Answers<'_>) -> String {
    let interfaces = if answers.interfaces.is_empty() {
        String::from(
            "# One block for each interface that carries the mesh: an 802.11s mesh point, a wired port, a bridge.\n\
             #[[mesh.interface]]\n#name = \"mesh0\"\n",
        )
    } else {
        answers
            .interfaces
            .iter()
            .map(|name| format!("[[mesh.interface]]\nname = {}\n", quote(name)))
            .collect::<Vec<_>>()
            .join("\n")
    };
    format!(
        r#"# Configuration of warrend. Keys are not here: they lie in files of their own in `state`.
# `warrend check --config THIS_FILE` says whether it is right.
version = 1

# What others see, at most 32 bytes.
name = {name}
# Where keys and data are.
state = {state}
# Become this user once everything is set up (only when started as root).
#user = "warren"

[log]
# error, warn, info, debug or trace
level = "info"

[mesh]
# A closed mesh: only who knows the passphrase in this file (mode 0600) becomes a neighbour.
#passphrase_file = "/etc/warren/passphrase"
# Packets travel sealed by AES-256-GCM between nodes whose processors have instructions for it ("auto"), else by
# ChaCha20-Poly1305; "never" keeps to the latter.
#aes = "auto"

{interfaces}# Its speed, where the driver does not know it.
#throughput = "100M"
# Whether its MTU may be raised so that packets of 1500 bytes fit.
#raise_mtu = true

# Links over routed addresses, to peers you name.
#[mesh.udp]
#listen = "[::]:4242"
#peers = ["[2001:db8::1]:4242"]

[network]
# "tun": every program reaches the mesh (needs CAP_NET_ADMIN). "userspace": only spaces and the page.
mode = "{mode}"
tun = "warren0"
# What others in the mesh may open here besides ping and the visible spaces: "tcp/PORT", "udp/PORT" or "all".
open = []

[control]
# `warrend status` and the like talk to the daemon here.
socket = {socket}

[web]
# Where the page is served: "IP:PORT" or "unix:/PATH".
listen = ["127.0.0.1:8080"]
# Names under which people open it, beside addresses. The first one stands in the links of invitations: with the same
# name at every home a link that is scanned opens at the friend's own home.
#names = ["warren.lan"]

# Relays of the Internet (Nostr), at most 8. What people here write for everybody is sent to them, and they are asked for
# people followed here who are at no home in reach. Careful: each of them sees this router's address in the Internet, and
# for whom it asks. Others are never contacted, whoever names them. Without any, nothing of this leaves the mesh.
#[feed]
#relays = ["wss://relay.example"]
# Certificates of an authority of your own (PEM), beside those of the system.
#ca_file = "/etc/warren/ca.pem"

# Figures for Prometheus, at http://ADDRESS/metrics. Where others can open the address, it needs a token (mode 0600).
#[metrics]
#listen = "127.0.0.1:9464"
#token_file = "/etc/warren/metrics.token"

# A backup of everything that the daemon brings up to date by itself: "daily" or "weekly". It holds keys.
#[backup]
#dir = "/mnt/usb/warren-backup"
#every = "daily"

# Everything that was written in one space as JSON lines, again and again: the last 7 files are kept. Without keys.
#[[export]]
#space = "garden"
#dir = "/mnt/usb/garden"
#every = "daily"
#keep = 7

# Where spaces that are made from now on keep messages and files, if not below `state`; only in programs that were built
# with the features `postgres` and `s3`. Passwords and keys are in files of their own, of mode 0600.
#[store]
#events = "postgres:host=/run/postgresql user=warren dbname=warren"
#password_file = "/etc/warren/postgres.password"
#[store.files]
#s3 = {{ endpoint = "https://s3.example.org", bucket = "warren", key_file = "/etc/warren/s3.key" }}

# A space hosted here, one block for each. `visible` tells everybody in the mesh about it.
#[[space]]
#id = "garden"
#name = "Garden club"
#visible = true
#port = 7447
"#,
        name = quote(answers.name),
        state = quote(&answers.state.to_string_lossy()),
        socket = quote(&answers.socket.to_string_lossy()),
        mode = match answers.mode {
            Mode::Tun => "tun",
            Mode::Userspace => "userspace",
        },
    )
}
