//! A page of a router inside a namespace, for a browser outside of it: passes connections on 127.0.0.1 to the daemon's unix
//! socket. Looks at no byte.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};

use crate::error::{LabError, Result};

/// Passes on everything that connects to 127.0.0.1:`port` (0: any free one) from now on. Returns the port.
pub(super) async fn forward(port: u16, socket: PathBuf) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(LabError::io(format!(
            "listening on 127.0.0.1:{port} (does another neighbourhood run?)"
        )))?;
    let port = listener
        .local_addr()
        .map_err(LabError::io("asking for the port"))?
        .port();
    tokio::spawn(async move {
        while let Ok((mut browser, _)) = listener.accept().await {
            let socket = socket.clone();
            tokio::spawn(async move {
                // Either side may hang up at any time; the browser sees that and tries again.
                if let Ok(mut daemon) = UnixStream::connect(&socket).await {
                    let _ = copy_bidirectional(&mut browser, &mut daemon).await;
                }
            });
        }
    });
    Ok(port)
}
