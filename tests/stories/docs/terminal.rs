//! Commands of the documents that set up a new user: the answers to their questions at a terminal, and
//! the start of the daemon in place of systemd.

use e2e::{KEY_SECRET, Terminal};

use super::{page::Block, shell, world::World};

const SIZE: (u16, u16) = (60, 200);

/// The questions and their answers: the key, and a file as its secret store.
const ANSWERS: [(&str, &str); 3] = [
    ("AccessKey id of the RAM user: ", "LTAIEXAMPLEUPLOADER01"),
    ("Its AccessKey secret (it is not shown): ", KEY_SECRET),
    ("the keyring [file]: ", ""),
];

/// The commands that set up a new user. The second one takes its answers as options and asks nothing.
const ASKS: &str = "stsctl init --region ";
const ASKS_NOTHING: &str = "| stsctl init --endpoint ";

/// Returns `true` if a block sets up a new user. A page with such a block starts without a
/// configuration.
pub(crate) fn sets_up(block: &Block) -> bool {
    let commands = shell::commands(block);
    let sets_up = |it: &String| it.starts_with(ASKS) || it.contains(ASKS_NOTHING);
    commands.iter().any(sets_up)
}

/// Runs a block and answers its questions.
///
/// # Errors
/// The place of the block, and the screen.
pub(crate) fn run(world: &mut World, block: &Block) -> Result<(), String> {
    let mut command = world.command("bash");
    command.args(["-eu", "-c", &world.here(&block.text)]);
    let mut terminal = Terminal::start(&command, SIZE);
    let asks = !block.text.contains(ASKS_NOTHING);
    for (question, answer) in ANSWERS.iter().filter(|_| asks) {
        terminal.wait_for(question);
        terminal.type_keys(&format!("{answer}\n"));
    }
    let socket = world.env.path("home/.config/systemd/user/stsd.socket");
    let here = || socket.exists();
    world.env.wait_until("the unit of the socket", here);
    world.use_a_free_port();
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
