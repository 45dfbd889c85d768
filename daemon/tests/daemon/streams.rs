//! TCP without root: two data planes in this process, linked by `udp` on loopback. Streams carry every byte in order,
//! end as TCP ends, and a port that nobody listens on is refused.

use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use warren_mesh::identity::{MeshIdentity, NodeAddress};
use warren_mesh::node::{Node, NodeConfig};
use warren_mesh::packet::policy::Policy;
use warren_mesh::transmit::InterfaceId;
use warrend::carrier::udp;
use warrend::plane::command::{COMMANDS_MAX, Command, NOTICES_MAX, Notice, PlaneHandle, Waker};
use warrend::plane::{Local, MeshClock, Plane};
use warrend::userspace::{ConnectError, UserNet, UserStream};

const PORT: u16 = 7447;

struct Home {
    address: NodeAddress,
    plane: PlaneHandle,
    thread: Option<JoinHandle<()>>,
    _notices: mpsc::Receiver<Notice>,
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = self.plane.send(Command::Stop);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn home(seed: u8, listen: SocketAddr, peer: SocketAddr) -> Home {
    let identity = MeshIdentity::from_seed(&[seed; 32]);
    let address = identity.address();
    let clock = MeshClock::start();
    let waker = Waker::new().unwrap();
    let config = NodeConfig {
        policy: Policy {
            tcp: vec![PORT],
            ..Policy::default()
        },
        ..NodeConfig::default()
    };
    let node = Node::new(clock.now(), config, identity, 1, [seed; 32]);
    let net = UserNet::new(address, u64::from(seed), waker.clone());
    let (commands, receiver) = sync_channel(COMMANDS_MAX);
    let (notices, _notices) = mpsc::channel(NOTICES_MAX);
    let local = Local::User(Box::new(net));
    let plane = Plane::new(node, clock, local, receiver, waker.clone(), notices).unwrap();
    let handle = PlaneHandle::new(commands, waker);
    let carrier = udp::open(InterfaceId(0), listen, vec![peer]).unwrap();
    handle
        .send(Command::AddInterface(Box::new(carrier)))
        .unwrap();
    Home {
        address,
        plane: handle,
        thread: Some(std::thread::spawn(move || plane.run().unwrap())),
        _notices,
    }
}

fn pair() -> (Home, Home) {
    let free = || UdpSocket::bind("[::1]:0").unwrap().local_addr().unwrap();
    let (a, b) = (free(), free());
    (home(1, a, b), home(2, b, a))
}

async fn connect(from: &Home, to: &Home, port: u16) -> Result<UserStream, ConnectError> {
    let (reply, answer) = oneshot::channel();
    from.plane
        .send(Command::Connect(to.address, port, reply))
        .unwrap();
    answer.await.unwrap()
}

/// Waits until each has a route to the other.
async fn meet(a: &Home, b: &Home) {
    let start = Instant::now();
    for home in [a, b] {
        while home.plane.snapshot().await.unwrap().routes.is_empty() {
            assert!(start.elapsed() < Duration::from_secs(60), "they never met");
            tokio::task::yield_now().await;
        }
    }
}

fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            tokio::time::timeout(Duration::from_secs(120), test)
                .await
                .unwrap()
        });
}

fn listen(home: &Home) -> mpsc::Receiver<UserStream> {
    let (accepted, streams) = mpsc::channel(4);
    home.plane.send(Command::Listen(PORT, accepted)).unwrap();
    streams
}

#[test]
fn a_megabyte_each_way_arrives_whole_and_both_ends_end() {
    block_on(async {
        let (a, b) = pair();
        let mut streams = listen(&b);
        meet(&a, &b).await;
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|at| (at ^ at >> 8) as u8).collect();
        let echo = tokio::spawn(async move {
            let mut stream = streams.recv().await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            stream.write_all(&all).await.unwrap();
            stream.shutdown().await.unwrap();
            // The other side reads before this one goes.
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        });
        let mut stream = connect(&a, &b, PORT).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.unwrap();
        assert!(back == bytes, "{} bytes came back", back.len());
        echo.await.unwrap();
    });
}

#[test]
fn who_reads_only_after_both_have_ended_still_gets_everything() {
    block_on(async {
        let (a, b) = pair();
        let mut streams = listen(&b);
        meet(&a, &b).await;
        // More than waits between stack and task, and no more than waits in the stack as well.
        let bytes = vec![7; 60_000];
        let sent = bytes.clone();
        let writer = tokio::spawn(async move {
            let mut stream = streams.recv().await.unwrap();
            stream.write_all(&sent).await.unwrap();
            stream.shutdown().await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        });
        let mut stream = connect(&a, &b, PORT).await.unwrap();
        stream.shutdown().await.unwrap();
        writer.await.unwrap();
        // The data planes are asked often enough to have seen the end.
        for _ in 0..2000 {
            a.plane.snapshot().await.unwrap();
            b.plane.snapshot().await.unwrap();
        }
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        assert!(all == bytes, "{} bytes arrived", all.len());
    });
}

#[test]
fn many_streams_at_once_do_not_mix() {
    block_on(async {
        let (a, b) = pair();
        let mut streams = listen(&b);
        meet(&a, &b).await;
        tokio::spawn(async move {
            while let Some(mut stream) = streams.recv().await {
                tokio::spawn(async move {
                    let mut line = [0; 8];
                    while stream.read_exact(&mut line).await.is_ok() {
                        if stream.write_all(&line).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let mut all = Vec::new();
        for number in 0..20_u64 {
            let mut stream = loop {
                // More at once than wait on a port: the rest is refused and tries again.
                if let Ok(stream) = connect(&a, &b, PORT).await {
                    break stream;
                }
            };
            stream.write_all(&number.to_be_bytes()).await.unwrap();
            all.push((number, stream));
        }
        for (number, stream) in &mut all {
            let mut line = [0; 8];
            stream.read_exact(&mut line).await.unwrap();
            assert_eq!(u64::from_be_bytes(line), *number);
        }
    });
}

#[test]
fn a_port_without_listener_is_refused() {
    block_on(async {
        let (a, b) = pair();
        meet(&a, &b).await;
        assert_eq!(
            connect(&a, &b, PORT).await.unwrap_err(),
            ConnectError::Refused
        );
    });
}

#[test]
fn a_stream_that_is_dropped_ends_for_the_other_side() {
    block_on(async {
        let (a, b) = pair();
        let mut streams = listen(&b);
        meet(&a, &b).await;
        let stream = connect(&a, &b, PORT).await.unwrap();
        let mut other = streams.recv().await.unwrap();
        drop(stream);
        let mut byte = [0];
        assert_eq!(other.read(&mut byte).await.unwrap_or(0), 0);
    });
}
