//! The handshake, with TLS, and without where the feature `tls` is off.

use http::Uri;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::{BadOptions, Options};

/// A WebSocket, and the server's answer.
type Upgraded<S> = (WebSocketStream<MaybeTlsStream<S>>, Response);

/// How `wss:` is done.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    #[cfg(feature = "tls")]
    config: Option<std::sync::Arc<rustls::ClientConfig>>,
}

#[cfg(not(feature = "tls"))]
impl Tls {
    pub(super) fn new(_: &Options, _: &[Uri]) -> Result<Tls, BadOptions> {
        Ok(Tls {})
    }

    pub(super) async fn upgrade<S>(
        &self,
        request: Request,
        stream: S,
        config: WebSocketConfig,
    ) -> Result<Upgraded<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let stream = MaybeTlsStream::Plain(stream);
        tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await
    }
}

#[cfg(feature = "tls")]
impl Tls {
    pub(super) fn new(options: &Options, urls: &[Uri]) -> Result<Tls, BadOptions> {
        let wanted = urls.iter().any(|url| url.scheme_str() == Some("wss"));
        let config = match &options.tls {
            Some(config) => Some(config.clone()),
            None if wanted => Some(trusting_the_system()?),
            None => None,
        };
        Ok(Tls { config })
    }

    pub(super) async fn upgrade<S>(
        &self,
        request: Request,
        stream: S,
        config: WebSocketConfig,
    ) -> Result<Upgraded<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        // Without a connector the library would make one of its own, with whatever provider is there.
        let tls = request.uri().scheme_str() == Some("wss");
        let connector = self.config.clone().filter(|_| tls).map(tokio_tungstenite::Connector::Rustls);
        let connector = connector.unwrap_or(tokio_tungstenite::Connector::Plain);
        let connector = Some(connector);
        tokio_tungstenite::client_async_tls_with_config(request, stream, Some(config), connector).await
    }
}

/// The provider is named, since an application may bring another one.
#[cfg(feature = "tls")]
fn trusting_the_system() -> Result<std::sync::Arc<rustls::ClientConfig>, BadOptions> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = rustls::RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or("it is empty".to_owned(), ToString::to_string);
        return Err(BadOptions::TrustStore(why));
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| BadOptions::TrustStore(error.to_string()))?;
    Ok(std::sync::Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
