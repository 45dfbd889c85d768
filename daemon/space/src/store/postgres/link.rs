//! The way to the server: one session that writes and holds the space's lock, one that reads. Both are opened anew when
//! the server was away; who asked at that moment gets an error.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls};

use super::schema;
use crate::background::Background;
use crate::store::StoreError;
use crate::stores::Postgres;

/// How long the server may take to be reached.
const CONNECT: Duration = Duration::from_secs(10);
/// How long one call may take. The server ends a statement before.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// How long the session of a program that was killed may hold the lock: until the server has noticed.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Why the server did not do what it was asked.
#[derive(Debug)]
pub enum Trouble {
    /// The server, or the way to it.
    Server(tokio_postgres::Error),
    /// It is not a server, or not tables, that can be used.
    Refused(String),
    /// What it has is no event.
    Record(crate::record::RecordError),
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error)
    }
}

impl From<crate::record::RecordError> for Trouble {
    fn from(error: crate::record::RecordError) -> Self {
        Self::Record(error)
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            // Without the server's details: they may quote what people wrote.
            Trouble::Server(error) => Self::Server(match error.as_db_error() {
                Some(said) => format!("{} ({})", said.message(), said.code().code()),
                None => error.to_string(),
            }),
            Trouble::Refused(why) => Self::Server(why),
            Trouble::Record(error) => Self::Record(error),
        }
    }
}

/// What the writing session knows without asking. Right as long as the session lives: nobody else writes.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The number of the next event.
    pub next_seq: i64,
    /// Events.
    pub events: i64,
    /// Their bytes.
    pub bytes: i64,
    /// Numbers of the channels that have text.
    pub channels: Vec<i64>,
}

/// See the module.
pub struct Link {
    background: Background,
    config: Config,
    schema: String,
    lock: i64,
    writer: Mutex<Option<Arc<Client>>>,
    reader: Mutex<Option<Arc<Client>>>,
    known: Mutex<Known>,
    /// Which holder of the lock this is; 0 before it ever was one.
    life: Mutex<i64>,
    closed: AtomicBool,
}

impl Link {
    /// For the tables in a schema. Asks nothing yet.
    pub fn new(server: &Postgres, schema: &str) -> Result<Self, StoreError> {
        let mut config = parse(server).map_err(StoreError::Server)?;
        config.application_name("warrend").connect_timeout(CONNECT);
        let background = Background::start("space-postgres").map_err(failed)?;
        let hash = blake3::hash(format!("warren space {schema}").as_bytes());
        let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
        Ok(Self {
            background,
            config,
            schema: schema.to_owned(),
            lock: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            writer: Mutex::default(),
            reader: Mutex::default(),
            known: Mutex::default(),
            life: Mutex::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// What is known without asking.
    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock and makes the tables, if that is not done.
    pub fn write_ready(&self) -> Result<(), StoreError> {
        self.write(|_| async { Ok(()) })
    }

    /// Works in the writing session, alone.
    pub fn write<T, F>(&self, work: impl FnOnce(Arc<Client>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Trouble>> + Send + 'static,
    {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let client = self.writing_session(&mut writer)?;
        let done = self.background.run(PATIENCE, work(Arc::clone(&client)));
        match done {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(trouble)) => {
                // Whatever was begun ends with the session, and what is known is asked for anew.
                *writer = None;
                Err(trouble.into())
            }
            Err(error) => {
                *writer = None;
                Err(failed(error))
            }
        }
    }

    /// Works in the reading session. Asks once more when the server turned out to have been away.
    pub fn read<T, F>(&self, work: impl Fn(Arc<Client>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Trouble>> + Send + 'static,
    {
        let mut again = true;
        loop {
            let client = self.reading_session()?;
            match self.background.run(PATIENCE, work(Arc::clone(&client))) {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(_)) if again && client.is_closed() => again = false,
                Ok(Err(trouble)) => return Err(trouble.into()),
                Err(error) => {
                    *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    return Err(failed(error));
                }
            }
        }
    }

    /// Ends both sessions; every call after this fails.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn reading_session(&self) -> Result<Arc<Client>, StoreError> {
        if let Some(client) = &*self.reader.lock().unwrap_or_else(PoisonError::into_inner)
            && !client.is_closed()
        {
            return Ok(Arc::clone(client));
        }
        // First the lock: if another program had the space meanwhile, what this one knows of it is wrong.
        self.write_ready()?;
        let client = self.connect()?;
        let (asking, schema) = (Arc::clone(&client), self.schema.clone());
        self.background
            .run(PATIENCE, async move {
                asking
                    .batch_execute(&format!("{} SET search_path TO {schema}", schema::SESSION))
                    .await
            })
            .map_err(failed)?
            .map_err(Trouble::Server)?;
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&client));
        Ok(client)
    }

    fn writing_session(&self, writer: &mut Option<Arc<Client>>) -> Result<Arc<Client>, StoreError> {
        if let Some(client) = writer.as_ref().filter(|client| !client.is_closed()) {
            return Ok(Arc::clone(client));
        }
        *writer = None;
        let client = self.connect()?;
        let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        let (asking, schema, lock, before) =
            (Arc::clone(&client), self.schema.clone(), self.lock, *life);
        let begun = self
            .background
            .run(PATIENCE, async move {
                begin(&asking, &schema, lock, before).await
            })
            .map_err(failed)?;
        let (now, known) = begun.map_err(StoreError::from)?;
        *life = now;
        *self.known() = known;
        *writer = Some(Arc::clone(&client));
        Ok(client)
    }

    fn connect(&self) -> Result<Arc<Client>, StoreError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(StoreError::Server("the space is closed".into()));
        }
        let (config, handle) = (self.config.clone(), self.background.handle().clone());
        let connected = self.background.run(CONNECT, async move {
            let (client, connection) = config.connect(NoTls).await?;
            handle.spawn(async move {
                if let Err(error) = connection.await {
                    log::warn!("the connection to PostgreSQL ended: {error}");
                }
            });
            Ok::<_, tokio_postgres::Error>(client)
        });
        let client = connected.map_err(failed)?.map_err(Trouble::Server)?;
        Ok(Arc::new(client))
    }
}

/// Reads the address of a server.
pub fn parse(server: &Postgres) -> Result<Config, String> {
    let wrong = |error: tokio_postgres::Error| {
        let why = std::error::Error::source(&error).map(ToString::to_string);
        format!(
            "this is no address of a PostgreSQL server ({}); for example: host=/run/postgresql user=warren dbname=warren",
            why.unwrap_or_else(|| error.to_string())
        )
    };
    let mut config: Config = server.address.parse().map_err(wrong)?;
    if config.get_password().is_some() {
        return Err("a password does not belong here: put it into a file of its own".into());
    }
    if config.get_ssl_mode() == SslMode::Require {
        return Err("this program does not speak TLS with PostgreSQL: use a socket, this machine, or a tunnel".into());
    }
    config.ssl_mode(SslMode::Disable);
    if let Some(password) = &server.password {
        config.password(password.expose());
    }
    Ok(config)
}

fn failed(error: std::io::Error) -> StoreError {
    StoreError::Server(format!("the PostgreSQL server does not answer: {error}"))
}

/// Takes the lock, makes or changes the tables, and counts what is there. `before`: which holder of the lock this was.
async fn begin(
    client: &Client,
    schema: &str,
    lock: i64,
    before: i64,
) -> Result<(i64, Known), Trouble> {
    client.batch_execute(schema::SESSION).await?;
    let mut tries = 0;
    loop {
        let taken: bool = client
            .query_one("SELECT pg_try_advisory_lock($1)", &[&lock])
            .await?
            .try_get(0)?;
        if taken {
            break;
        }
        tries += 1;
        if tries >= LOCK_TRIES {
            return Err(Trouble::Refused(
                "another warrend has this space open on the same PostgreSQL server; stop it first"
                    .into(),
            ));
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    schema::prepare(client, schema).await?;
    let life: i64 = client
        .query_one("SELECT life FROM meta", &[])
        .await?
        .try_get(0)?;
    if before != 0 && before != life {
        return Err(Trouble::Refused(
            "another warrend had this space open on the same PostgreSQL server meanwhile; restart this one once the other is stopped".into(),
        ));
    }
    let life = if before == 0 { life + 1 } else { life };
    client
        .execute("UPDATE meta SET life = $1", &[&life])
        .await?;
    let row = client
        .query_one(
            "SELECT coalesce(max(seq), 0) + 1, count(*), coalesce(sum(size), 0)::bigint FROM events",
            &[],
        )
        .await?;
    let channels = client
        .query(
            "SELECT DISTINCT channel8 FROM events WHERE channel8 IS NOT NULL AND words IS NOT NULL",
            &[],
        )
        .await?;
    let known = Known {
        next_seq: row.try_get(0)?,
        events: row.try_get(1)?,
        bytes: row.try_get(2)?,
        channels: channels
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<_, _>>()?,
    };
    Ok((life, known))
}
