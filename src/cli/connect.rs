//! Which bus a client command talks to, and with which API key.

use std::env::VarError;
use std::ffi::OsString;
use std::path::Path;

use crate::client::Client;

use super::exit::Failure;

/// The bus's address.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ServerArgs {
    /// Base URL of the bus.
    #[arg(
        long,
        env = "EVENTYARD_URL",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    pub(crate) url: String,
    /// File with the API key, where the bus asks for one; EVENTYARD_API_KEY may hold it instead.
    // As text, since a variable that is set to nothing is as good as none.
    #[arg(long, env = "EVENTYARD_API_KEY_FILE", value_name = "FILE")]
    pub(crate) api_key_file: Option<OsString>,
}

/// Holds the API key. No flag does: others can see a program's arguments.
const ENV_API_KEY: &str = "EVENTYARD_API_KEY";

/// The bus's address, and which of its buses.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct BusArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The bus by name.
    #[arg(
        long,
        short,
        env = "EVENTYARD_BUS",
        default_value = "default",
        value_name = "NAME"
    )]
    pub(crate) bus: String,
}

impl ServerArgs {
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        match self.api_key()? {
            Some(key) => Ok(Client::with_api_key(&self.url, key.trim())?),
            None => Ok(Client::new(&self.url)?),
        }
    }

    fn api_key(&self) -> Result<Option<String>, Failure> {
        let file = self.api_key_file.as_deref().map(Path::new);
        let Some(path) = file.filter(|path| !path.as_os_str().is_empty()) else {
            return match std::env::var(ENV_API_KEY) {
                Ok(key) => Ok(Some(key).filter(|key| !key.trim().is_empty())),
                Err(VarError::NotPresent) => Ok(None),
                // Its error repeats the value.
                Err(VarError::NotUnicode(_)) => {
                    Err(Failure::usage(format!("{ENV_API_KEY} is not UTF-8 text")))
                }
            };
        };
        let file = path.display();
        let key = std::fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!("cannot read the API key in {file}: {error}"))
        })?;
        match key.trim() {
            "" => Err(Failure::usage(format!(
                "{file} is empty, and should hold an API key"
            ))),
            _ => Ok(Some(key)),
        }
    }
}

impl BusArgs {
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        self.server.client()
    }
}
