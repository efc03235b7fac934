// Ctrl-C asks the program to come to an end; a second one ends it at once.
#pragma once

namespace llm {

// From now on SIGINT is noted. The next one after that has its usual effect again.
void catch_interrupts();

bool interrupted();

// What a shell gives a program that SIGINT ended.
constexpr int interrupted_status = 130;

}  // namespace llm
