//! Connections to relays of the Internet: TCP, TLS where the address says so, WebSocket. Whom to trust is what the box
//! trusts, and an authority of the owner's own.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, ClientConfig, Error, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::{Clock, UplinkConfig};
use crate::dialer::{self, BoxStream};
use crate::error::HomeError;
use crate::feed::way::Socket;
use crate::relay_address::RelayAddress;

/// Where systems keep the certificates of authorities: Debian, Alpine and OpenWrt (its package `ca-bundle`); Fedora; SUSE;
/// BSD.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// How long one of a machine's addresses may take to answer.
const CONNECT: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried.
const ADDRESSES: usize = 4;
/// Sessions of TLS that are remembered to be taken up again.
const SESSIONS: usize = 8;

/// Opens connections.
pub struct Wire {
    /// `None`: no certificates were found.
    tls: Option<TlsConnector>,
}

/// The time of the home: a box without a clock of its own knows it better than its system does.
struct HomeTime(Clock);

impl std::fmt::Debug for HomeTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HomeTime")
    }
}

impl TimeProvider for HomeTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs((self.0)())))
    }
}

/// The certificates in a file; how many of them cannot be used is not told.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
    found
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())
}

/// Whom to trust.
pub fn roots(config: &UplinkConfig) -> Result<RootCertStore, HomeError> {
    let mut roots = RootCertStore::empty();
    let system = SYSTEM.iter().map(Path::new).find_map(|path| {
        let found = certificates(path).ok()?;
        (!found.is_empty()).then_some(found)
    });
    roots.add_parsable_certificates(system.unwrap_or_default());
    if let Some(path) = &config.ca_file {
        let unusable = |what| HomeError::Certificates {
            path: path.clone(),
            what,
        };
        let found = certificates(path).map_err(unusable)?;
        if roots.add_parsable_certificates(found).0 == 0 {
            let what = String::from("there is no certificate of an authority in it");
            return Err(unusable(what));
        }
    }
    Ok(roots)
}

impl Wire {
    /// Reads whom to trust, if any of the relays is spoken to over TLS. Blocks.
    pub fn new(config: &UplinkConfig, clock: &Clock) -> Result<Self, HomeError> {
        if !config.relays.iter().any(RelayAddress::is_tls) {
            return Ok(Self { tls: None });
        }
        let roots = roots(config)?;
        if roots.is_empty() {
            return Ok(Self { tls: None });
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let time = Arc::new(HomeTime(Arc::clone(clock)));
        let builder = ClientConfig::builder_with_details(provider, time);
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| HomeError::Tls(error.to_string()))?;
        let mut tls = builder.with_root_certificates(roots).with_no_client_auth();
        tls.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(Self {
            tls: Some(TlsConnector::from(Arc::new(tls))),
        })
    }

    /// Opens a connection to a relay. The caller decides how long it may take.
    pub async fn open(&self, to: &RelayAddress, message_bytes: usize) -> io::Result<Socket> {
        let stream = connect(to).await?;
        let stream: BoxStream = match &self.tls {
            _ if !to.is_tls() => Box::new(stream),
            None => {
                return Err(io::Error::other(
                    "this box has no certificates of authorities: install them (OpenWrt: the package ca-bundle), or name a file in `ca_file`",
                ));
            }
            Some(tls) => {
                let name = ServerName::try_from(to.host().to_owned()).map_err(io::Error::other)?;
                Box::new(tls.connect(name, stream).await.map_err(plainly)?)
            }
        };
        dialer::upgrade(stream, to.as_str(), message_bytes).await
    }
}

async fn connect(to: &RelayAddress) -> io::Result<TcpStream> {
    let addresses = tokio::net::lookup_host((to.host(), to.port())).await?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in addresses.take(ADDRESSES) {
        match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// What an owner can do something about, in words.
fn plainly(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let Some(Error::InvalidCertificate(wrong)) = inner else {
        return error;
    };
    let what = match wrong {
        // The latter: of an authority that only calls itself as one that is trusted.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is from nobody that this box trusts; if the authority is your own, name its file in `ca_file`"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired, or the time here is wrong"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet, or the time here is wrong"
        }
        _ => return error,
    };
    io::Error::new(io::ErrorKind::InvalidData, what)
}
