//! Buses that violate the protocol, and replies that no real keyring sends.

use std::{fs, time::Duration};

use stsd_secret::SecretText;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    runtime::{Builder, Handle},
};
use zbus::zvariant::{LE, ObjectPath, Type, Value, serialized::Context, to_bytes};

use crate::{BusAddress, KeyringError, MAX_TEXT, lookup, store};

const GUID: &[u8] = b"OK 0123456789abcdef0123456789abcdef\r\n";
/// A deadline that no test reaches, even on a busy machine.
const PLENTY: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_millis(300);

type Outcome = Result<SecretText, KeyringError>;

/// Looks a key up at a scripted bus, and asserts that no task is left.
fn look_up(
    deadline: Duration,
    bus: impl AsyncFnOnce(&mut UnixStream) -> Option<()> + 'static,
) -> Outcome {
    at(bus, async move |address| {
        lookup(&address, "uploader", deadline).await
    })
}

fn at<T>(
    bus: impl AsyncFnOnce(&mut UnixStream) -> Option<()> + 'static,
    ask: impl AsyncFnOnce(BusAddress) -> T,
) -> T {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("bus");
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = UnixListener::bind(&socket).unwrap();
        let address = format!("unix:path={}", socket.display());
        let address = BusAddress::parse(address.as_ref()).unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            bus(&mut stream).await;
            // A connection that the other side has closed is at its end, or gone.
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        };
        let (outcome, ()) = tokio::join!(ask(address), serve);
        let metrics = Handle::current().metrics();
        assert_eq!(metrics.num_alive_tasks(), 0, "a task was left behind");
        outcome
    })
}

/// Looks up at a bus that writes `said` to each connection and keeps it open.
fn says(said: Vec<u8>, deadline: Duration) -> Outcome {
    look_up(deadline, async move |stream| {
        stream.write_all(&said).await.ok()
    })
}

/// The messages of a bus whose keyring is scripted.
struct Script<'a>(&'a mut UnixStream);

impl Script<'_> {
    /// Replies to the authentication, to `Hello` and to the search for the keyring's owner.
    async fn found(stream: &mut UnixStream) -> Option<Script<'_>> {
        while stream.read_u8().await.ok()? != b'\n' {}
        stream.write_all(GUID).await.ok()?;
        while stream.read_u8().await.ok()? != b'\n' {}
        let mut script = Script(stream);
        script.answers(&":1.7").await?;
        script.answers(&":1.2").await?;
        Some(script)
    }

    /// Reads a question and answers it.
    async fn answers(&mut self, body: &(impl serde::Serialize + Type)) -> Option<()> {
        let signature = body_signature(body);
        let body = to_bytes(Context::new_dbus(LE, 0), body).unwrap();
        self.writes(2, 8, &signature, &body).await
    }

    async fn refuses(&mut self, name: &str) -> Option<()> {
        let field = [b"s\0", &length(name)[..], name.as_bytes(), b"\0"].concat();
        self.writes_field(3, 4, &field, &[]).await
    }

    async fn writes(&mut self, kind: u8, code: u8, signature: &str, body: &[u8]) -> Option<()> {
        let count = u8::try_from(signature.len()).unwrap();
        let field = [b"g\0", &[count][..], signature.as_bytes(), b"\0"].concat();
        self.writes_field(kind, code, &field, body).await
    }

    async fn writes_field(&mut self, kind: u8, code: u8, field: &[u8], body: &[u8]) -> Option<()> {
        let mut head = [0; 16];
        self.0.read_exact(&mut head).await.ok()?;
        let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        let rest = number(12).next_multiple_of(8) + number(4);
        let mut rest = vec![0; rest as usize];
        self.0.read_exact(&mut rest).await.ok()?;
        // The number of the question (field 5, an `u`), and one more field.
        let mut fields = [&[5, 1, b'u', 0][..], &head[8..12], &[code, 1], field].concat();
        let count = u32::try_from(fields.len()).unwrap().to_le_bytes();
        fields.resize(fields.len().next_multiple_of(8), 0);
        let body_length = u32::try_from(body.len()).unwrap().to_le_bytes();
        let start = [b'l', kind, 0, 1];
        let parts = [
            &start[..],
            &body_length,
            &[1, 0, 0, 0],
            &count,
            &fields,
            body,
        ];
        self.0.write_all(&parts.concat()).await.ok()
    }
}

/// Returns the signature of a body: a list of arguments, without the parentheses of a tuple.
fn body_signature<T: Type>(_: &T) -> String {
    let signature = T::SIGNATURE.to_string();
    match signature.strip_prefix('(') {
        Some(inner) => inner.strip_suffix(')').unwrap().to_owned(),
        None => signature,
    }
}

fn length(text: &str) -> [u8; 4] {
    u32::try_from(text.len()).unwrap().to_le_bytes()
}

fn path(text: &str) -> ObjectPath<'_> {
    ObjectPath::try_from(text).unwrap()
}

/// Looks a key up in a keyring with these numbers of items; the item that is read contains `bytes`.
fn holds(unlocked: usize, locked: usize, bytes: Vec<u8>) -> Outcome {
    look_up(PLENTY, async move |stream| {
        let mut script = Script::found(stream).await?;
        let items = |count| vec![path("/item"); count];
        script.answers(&(items(unlocked), items(locked))).await?;
        script.answers(&(Value::from(""), path("/session"))).await?;
        let secret = (path("/session"), Vec::<u8>::new(), bytes, "text/plain");
        script.answers(&(secret,)).await
    })
}

#[test]
fn single_item_is_returned() {
    assert_eq!(holds(1, 0, b"a text".to_vec()).unwrap().expose(), "a text");
    let largest = holds(1, 0, vec![b'a'; MAX_TEXT]).unwrap();
    assert_eq!(largest.expose().len(), MAX_TEXT);
}

#[test]
fn item_without_text_or_too_large_is_rejected_unquoted() {
    let outcome = holds(1, 0, b"marker \xff".to_vec());
    assert!(matches!(outcome, Err(KeyringError::NotText)), "{outcome:?}");
    for length in [MAX_TEXT + 1, 60_000, 200_000] {
        let outcome = holds(1, 0, vec![b'a'; length]);
        assert!(
            matches!(outcome, Err(KeyringError::TooLarge)),
            "{outcome:?}"
        );
    }
}

#[test]
fn several_items_for_a_key_are_rejected() {
    for (unlocked, locked) in [(2, 0), (1, 1), (0, 2)] {
        let outcome = holds(unlocked, locked, b"a text".to_vec());
        assert!(
            matches!(outcome, Err(KeyringError::Several(_))),
            "{outcome:?}"
        );
    }
    let outcome = holds(0, 1, Vec::new());
    assert!(matches!(outcome, Err(KeyringError::Locked)), "{outcome:?}");
}

#[test]
fn empty_result_of_a_locked_collection_is_locked() {
    for locked in [true, false] {
        let outcome = look_up(PLENTY, async move |stream| {
            let mut script = Script::found(stream).await?;
            let nothing = Vec::<ObjectPath<'_>>::new();
            script.answers(&(nothing.clone(), nothing)).await?;
            script.answers(&path("/default")).await?;
            script.answers(&Value::from(locked)).await
        });
        match (locked, outcome) {
            (true, Err(KeyringError::Locked)) => {}
            (false, Err(KeyringError::NoItem(key))) => assert_eq!(key, "uploader"),
            (_, outcome) => panic!("{locked}: {outcome:?}"),
        }
    }
}

#[test]
fn dbus_error_is_mapped_or_named() {
    let check = |name: &'static str| {
        look_up(PLENTY, async move |stream| {
            Script::found(stream).await?.refuses(name).await
        })
    };
    let outcome = check("org.freedesktop.Secret.Error.IsLocked");
    assert!(matches!(outcome, Err(KeyringError::Locked)), "{outcome:?}");
    let outcome = check("org.freedesktop.DBus.Error.NoReply");
    assert!(
        matches!(outcome, Err(KeyringError::NoService)),
        "{outcome:?}"
    );
    let outcome = check("org.example.Error").unwrap_err();
    assert_eq!(
        outcome.to_string(),
        "the keyring refused: org.example.Error"
    );
}

#[test]
fn reply_of_the_wrong_type_is_garbled() {
    let outcome = look_up(PLENTY, async |stream| {
        Script::found(stream).await?.answers(&"a text").await
    });
    assert!(matches!(outcome, Err(KeyringError::Garbled)), "{outcome:?}");
}

#[test]
fn hanging_bus_ends_at_the_deadline() {
    let slow = |outcome: Outcome| {
        assert!(matches!(outcome, Err(KeyringError::TooSlow)), "{outcome:?}");
    };
    slow(says(Vec::new(), SOON));
    slow(says(b"OK".to_vec(), SOON));
    slow(says(GUID.to_vec(), SOON));
    slow(says([GUID, b"l\x02\x01\x01"].concat(), SOON));
    slow(look_up(SOON, async |stream| {
        Script::found(stream).await.map(drop)
    }));
}

#[test]
fn closed_bus_is_reported_as_closed() {
    let closed = |outcome: Outcome| {
        assert!(matches!(outcome, Err(KeyringError::Closed)), "{outcome:?}");
    };
    let closes = |said: &'static [u8]| {
        look_up(PLENTY, async |stream| {
            stream.write_all(said).await.ok()?;
            stream.shutdown().await.ok()
        })
    };
    closed(closes(b""));
    closed(closes(b"OK"));
    closed(closes(GUID));
}

#[test]
fn invalid_or_endless_bus_output_is_rejected() {
    let garbled = |said: &[u8]| {
        let outcome = says(said.to_vec(), PLENTY);
        assert!(matches!(outcome, Err(KeyringError::Garbled)), "{outcome:?}");
    };
    garbled(b"HTTP/1.1 400 Bad Request\r\n");
    garbled(b"REJECTED KERBEROS_V4\r\n");
    garbled(b"\r\n");
    garbled(&[GUID, &[b'x'; 64]].concat());
    garbled(&[GUID, b"l\x02\x01\x01", &[0; 12]].concat());
    garbled(&[GUID, b"l\x09\x01\x01", &[0xff, 0, 0, 0].repeat(300)].concat());
    let too_much = |said: &[u8]| {
        let outcome = says(said.to_vec(), PLENTY);
        assert!(matches!(outcome, Err(KeyringError::TooMuch)), "{outcome:?}");
    };
    too_much(&b"\n".repeat(4096));
    too_much(&b"A".repeat(4096));
    // A message that would be 128 MiB.
    let head = [
        &b"l\x02\x01\x01"[..],
        &[0, 0, 0, 8],
        &[1, 0, 0, 0],
        &[8, 0, 0, 0],
    ]
    .concat();
    too_much(&[GUID, &head].concat());
}

#[test]
fn flood_of_bus_signals_ends_the_lookup() {
    let outcome = look_up(PLENTY, async |stream| {
        // A signal with path, interface and member.
        let fields = b"\x01\x01o\0\x01\0\0\0/\0\0\0\0\0\0\0\
                       \x02\x01s\0\x03\0\0\0a.b\0\0\0\0\0\
                       \x03\x01s\0\x01\0\0\0c\0\0\0\0\0\0\0";
        let head = [
            &b"l\x04\x01\x01"[..],
            &[0; 4],
            &[1, 0, 0, 0],
            &[42, 0, 0, 0],
        ]
        .concat();
        let signal = [&head[..], fields].concat();
        stream.write_all(GUID).await.ok()?;
        loop {
            stream.write_all(&signal).await.ok()?;
        }
    });
    assert!(matches!(outcome, Err(KeyringError::TooMuch)), "{outcome:?}");
}

#[test]
fn bus_address_without_listener_is_unreachable() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let address = directory.path().join("bus");
    let bus = BusAddress::of_session(None, Some(directory.path().as_os_str())).unwrap();
    let outcome = runtime.block_on(lookup(&bus, "uploader", PLENTY));
    assert!(
        matches!(outcome, Err(KeyringError::Unreachable(_))),
        "{outcome:?}"
    );
    fs::write(address, "").unwrap();
    let outcome = runtime.block_on(lookup(&bus, "uploader", PLENTY));
    assert!(
        matches!(outcome, Err(KeyringError::Unreachable(_))),
        "{outcome:?}"
    );
}

#[test]
fn text_over_the_lookup_limit_is_not_stored() {
    let bus = BusAddress::parse("unix:path=/nowhere".as_ref()).unwrap();
    let text = SecretText::from("marker".repeat(MAX_TEXT));
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(store(&bus, "uploader", "a label", &text, PLENTY));
    assert!(
        matches!(outcome, Err(KeyringError::TooLarge)),
        "{outcome:?}"
    );
}

#[test]
fn keyring_errors_have_lower_case_text_and_a_hint() {
    use KeyringError::*;
    let key = || "uploader".to_owned();
    let failures = [
        NoAddress,
        NoUnixSocket,
        Unreachable(std::io::ErrorKind::NotFound.into()),
        Stranger,
        Closed,
        Garbled,
        TooMuch,
        TooSlow,
        NoService,
        Locked,
        NoCollection,
        NoItem(key()),
        Several(key()),
        TooLarge,
        NotText,
        Refused(key()),
    ];
    for failure in failures {
        for text in [failure.to_string(), failure.hint()] {
            assert!(!text.ends_with('.') && text.len() > 10, "{text}");
            assert!(
                !text.starts_with(|it: char| it.is_ascii_uppercase()) || text.starts_with("DBUS")
            );
        }
    }
}
