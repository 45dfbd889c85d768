//! What the island may and may not open on a node, and what the daemon is allowed on its own machine. Needs root.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use warren_lab::overlay::Warrend;
use warren_lab::overlay::warrend::{Options, start_with};
use warren_lab::ping::Pinger;
use warren_lab::{Lab, LabError, Result, Topology, namespace};

const PATIENCE: Duration = Duration::from_secs(60);
const SSH: u16 = 22;
const OPEN: u16 = 5201;

fn line_of_three(options: impl Fn(usize) -> Options) -> Result<(Lab, Vec<Warrend>, Vec<Ipv6Addr>)> {
    let lab = Lab::new(Topology::line(3))?;
    let (daemons, addresses) = start_with(&lab, options)?;
    Pinger::new(&lab, &addresses)?.reach_all(Instant::now(), PATIENCE)?;
    Ok((lab, daemons, addresses))
}

/// A server in a node's namespace that answers each connection with `hello`.
fn greeter(lab: &Lab, node: usize, port: u16) -> Result<()> {
    let any = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0));
    let listener = namespace::within(&lab.namespace(node), || {
        TcpListener::bind(any).map_err(LabError::io(format!("listening on port {port}")))
    })?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // The other side may have hung up; then its test says so.
            let _ = stream.write_all(b"hello");
        }
    });
    Ok(())
}

/// What a program on a node reads from a port elsewhere.
fn greeting(
    lab: &Lab,
    from: usize,
    address: Ipv6Addr,
    port: u16,
    patience: Duration,
) -> Result<std::io::Result<String>> {
    namespace::within(&lab.namespace(from), || {
        let target = SocketAddr::V6(SocketAddrV6::new(address, port, 0, 0));
        let read = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&target, patience)?;
            stream.set_read_timeout(Some(patience))?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        Ok(read())
    })
}

#[test]
fn the_island_opens_what_the_owner_opened_and_nothing_else() -> Result<()> {
    let (lab, daemons, addresses) = line_of_three(|node| Options {
        open: if node == 2 {
            vec![format!("tcp/{OPEN}")]
        } else {
            Vec::new()
        },
        ..Options::default()
    })?;
    greeter(&lab, 2, SSH)?;
    greeter(&lab, 2, OPEN)?;
    assert_eq!(
        greeting(&lab, 0, addresses[2], OPEN, PATIENCE)?
            .ok()
            .as_deref(),
        Some("hello")
    );
    let ssh = greeting(&lab, 0, addresses[2], SSH, Duration::from_secs(3))?;
    let kind = ssh.as_ref().err().map(std::io::Error::kind);
    assert!(
        matches!(
            kind,
            Some(
                ErrorKind::TimedOut
                    | ErrorKind::ConnectionRefused
                    | ErrorKind::PermissionDenied
                    | ErrorKind::HostUnreachable
            )
        ),
        "ssh is reachable from the island: {ssh:?}"
    );
    // The server itself was there all the time: from its own machine it answers.
    assert_eq!(
        greeting(&lab, 2, addresses[2], SSH, PATIENCE)?
            .ok()
            .as_deref(),
        Some("hello")
    );
    let refused = daemons[2].ask("status")?["counters"]["refused"].as_u64();
    assert!(
        refused > Some(0),
        "the refusal was not counted: {refused:?}"
    );
    // What a node asked for itself comes back in, though nothing is open there.
    greeter(&lab, 0, OPEN)?;
    assert!(greeting(&lab, 2, addresses[0], OPEN, Duration::from_secs(3))?.is_err());
    Ok(())
}

#[test]
fn after_set_up_the_daemon_is_another_user_with_one_capability() -> Result<()> {
    let (_lab, mut daemons, _) = line_of_three(|_| Options {
        user: Some("nobody".into()),
        ..Options::default()
    })?;
    for daemon in &mut daemons {
        let process = daemon.process()?;
        let users = process.status_line("Uid")?;
        assert!(
            users.split_whitespace().all(|id| id != "0"),
            "user ids of {users}"
        );
        // Bit 12 is CAP_NET_ADMIN (capabilities(7)).
        for set in ["CapEff", "CapPrm"] {
            let bits = u64::from_str_radix(&process.status_line(set)?, 16).unwrap();
            assert_eq!(
                bits & !(1 << 12),
                0,
                "{set} has more than CAP_NET_ADMIN: {bits:x}"
            );
        }
    }
    Ok(())
}

#[test]
fn keys_and_sockets_are_for_their_owner_alone() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let (_lab, daemons, _) = line_of_three(|_| Options::default())?;
    for daemon in &daemons {
        let folder = daemon.config().parent().unwrap().join("keys");
        let mut keys = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(
                mode & 0o077,
                0,
                "a key of {} is open to others: {mode:o}",
                daemon.name
            );
            keys += 1;
        }
        assert!(keys > 0);
        let mode = std::fs::metadata(daemon.control_socket())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(
            mode & 0o077,
            0,
            "the control socket of {} is open to others: {mode:o}",
            daemon.name
        );
    }
    Ok(())
}
