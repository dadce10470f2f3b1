//! Commands of the documents that ask at a terminal: the answers, and the start of the daemon in
//! place of systemd.

use e2e::{KEY_SECRET, Terminal};

use super::{page::Block, shell, world::World};

const SIZE: (u16, u16) = (60, 200);

/// The questions and their answers: the key, and a file as its secret store.
const ANSWERS: [(&str, &str); 3] = [
    ("AccessKey id of the RAM user: ", "LTAIEXAMPLEUPLOADER01"),
    ("Its AccessKey secret (it is not shown): ", KEY_SECRET),
    ("keyring (desktop) [file]: ", ""),
];

/// The command that sets up a new user.
const SETS_UP: &str = "stsctl init --region ";

/// Returns `true` if a block asks. A page with such a block starts without a configuration.
pub(crate) fn asks(block: &Block) -> bool {
    let commands = shell::commands(block);
    commands.iter().any(|it| it.starts_with(SETS_UP))
}

/// Runs a block and answers its questions.
///
/// # Errors
/// The place of the block, and the screen.
pub(crate) fn run(world: &mut World, block: &Block) -> Result<(), String> {
    let mut command = world.command("bash");
    command.args(["-eu", "-c", &world.here(&block.text)]);
    let mut terminal = Terminal::start(&command, SIZE);
    for (question, answer) in ANSWERS {
        terminal.wait_for(question);
        terminal.type_keys(&format!("{answer}\n"));
    }
    let socket = world.env.path("home/.config/systemd/user/stsd.socket");
    let here = || socket.exists();
    world.env.wait_until("the unit of the socket", here);
    world.start();
    let code = terminal.wait_for_exit();
    e2e::assert_no_secrets(&block.place(), &terminal.bytes());
    match code {
        0 => Ok(()),
        code => {
            let shown = terminal.screen().contents();
            Err(format!("{}: {code}\n{shown}", block.place()))
        }
    }
}
