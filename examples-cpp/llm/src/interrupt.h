// Ctrl-C asks the program to come to an end; a second one ends it at once.
#pragma once

#include <functional>

namespace llm {

// Asked by what takes long whether to come to an end.
using stop_request = std::function<bool()>;

// From now on SIGINT is noted. The next one after that has its usual effect again.
void catch_interrupts();

bool interrupted();

// What a shell gives a program that SIGINT ended.
constexpr int interrupted_status = 130;

}  // namespace llm
