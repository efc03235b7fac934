#include "interrupt.h"

#include <csignal>

namespace llm {
namespace {

volatile std::sig_atomic_t seen = 0;

void note(int) { seen = 1; }

}  // namespace

void catch_interrupts() {
    struct sigaction action{};
    action.sa_handler = note;
    // One time only; and no read or write of the program fails because of it.
    action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, nullptr);
}

bool interrupted() { return seen != 0; }

}  // namespace llm
