// The GGUF reader on well-formed files, and on files that lie: every one of them has to give gguf_error and nothing else.
#include <memory>

#include <reflex/infer.h>

#include "check.h"
#include "gguf_builder.h"

using llm::gguf;
using llm::gguf_error;
using llm::gguf_type;
using test::bytes;
using test::gguf_builder;

namespace {

constexpr uint64_t huge = 0xFFFFFFFFFFFFFFFFull;

// Parses a copy of exactly the right size on the heap, so that a sanitizer sees any read beyond the end.
void parse(const std::vector<uint8_t> &file, size_t size) {
    const std::unique_ptr<uint8_t[]> copy(new uint8_t[size]);
    if (size != 0) std::memcpy(copy.get(), file.data(), size);
    const gguf parsed(copy.get(), size);
}

void parse(const gguf_builder &builder) {
    const std::vector<uint8_t> file = builder.build();
    parse(file, file.size());
}

gguf_builder small() {
    gguf_builder b;
    b.string("general.architecture", "qwen3")
        .u32("n", 7)
        .f32("eps", 1e-6f)
        .boolean("flag", 1)
        .strings("tokens", {"a", "", "bc"})
        .i32s("types", {1, -3});
    bytes nested;
    nested.put<uint32_t>(4).put<uint64_t>(2).put<uint32_t>(5).put<uint32_t>(6).put<uint32_t>(8).put<uint64_t>(1).string(
        "x");
    b.array("nested", gguf_type::array, 2, nested);
    b.tensor("norm", {8}, 0, 0).tensor("w", {32, 4}, 8, 32).data(32 + 4 * 34);
    return b;
}

void reads_what_was_written() {
    const std::vector<uint8_t> file = small().build();
    const gguf parsed(file.data(), file.size());
    CHECK(parsed.require("general.architecture").as_string() == "qwen3");
    CHECK(parsed.require("n").as_unsigned() == 7);
    CHECK(parsed.require("eps").as_float() == static_cast<double>(1e-6f));
    CHECK(parsed.require("flag").flag() == true);
    CHECK((parsed.require("tokens").as_strings() == std::vector<std::string_view>{"a", "", "bc"}));
    CHECK((parsed.require("types").as_integers() == std::vector<int64_t>{1, -3}));
    CHECK(parsed.require("nested").count == 2);
    CHECK(parsed.find("absent") == nullptr);
    CHECK(parsed.tensors().size() == 2);
    const llm::gguf_tensor *w = parsed.find_tensor("w");
    CHECK(w != nullptr && w->rank == 2 && w->shape[0] == 32 && w->shape[1] == 4 && w->shape[2] == 1 &&
          w->bytes == 4 * 34);
    CHECK(w != nullptr && w->data == file.data() + parsed.data_offset() + 32);
    CHECK(w != nullptr && w->describe() == "w Q8_0 [32, 4]");
    CHECK(parsed.data_offset() % 32 == 0);

    CHECK_ERROR(gguf_error, parsed.require("absent"), "missing");
    CHECK_ERROR(gguf_error, parsed.require("eps").as_unsigned(), "must be an integer");
    CHECK_ERROR(gguf_error, parsed.require("tokens").as_unsigned(), "has type array of string, must be an integer");
    CHECK_ERROR(gguf_error, parsed.require("n").as_string(), "must be string");
    CHECK(parsed.require("n").flag() == true && !parsed.require("types").flag() &&
          !parsed.require("general.architecture").flag());
    CHECK(parsed.require("n").as_float() == 7.0);
    CHECK_ERROR(gguf_error, parsed.require("flag").as_float(), "has type bool, must be a number");
    CHECK_ERROR(gguf_error, parsed.require("types").as_strings(), "has type array of i32");
    CHECK_ERROR(gguf_error, parsed.require("tokens").as_integers(), "must be array of integers");
    CHECK((parsed.require("types").as_floats() == std::vector<float>{1, -3}));
    CHECK_ERROR(gguf_error, parsed.require("tokens").as_floats(), "has type array of string, must be array of numbers");
}

void prints_nothing_but_text() {
    CHECK(llm::printable("a\x1b[2J\n\xC3\xA9") == "a\\x1b[2J\\x0a\\xc3\\xa9");
    CHECK(llm::printable(std::string(500, 'x')).size() == 83);
}

void refuses_every_truncation() {
    const std::vector<uint8_t> file = small().build();
    for (size_t size = 0; size < file.size(); ++size) {
        bool refused = false;
        try {
            parse(file, size);
        } catch (const gguf_error &) {
            refused = true;
        }
        CHECK_MESSAGE(refused,
                      "accepted when cut to " + std::to_string(size) + " of " + std::to_string(file.size()) + " bytes");
    }
    parse(file, file.size());
}

void refuses_headers() {
    const gguf_builder b = small();
    const auto parse_bytes = [](const std::vector<uint8_t> &file) { parse(file, file.size()); };
    CHECK_ERROR(gguf_error, parse_bytes(b.build(3, "GGML")), "does not start with \"GGUF\"");
    CHECK_ERROR(gguf_error, parse_bytes(b.build(1)), "version 1 is not read");
    CHECK_ERROR(gguf_error, parse_bytes(b.build(2)), "version 2 is not read");
    CHECK_ERROR(gguf_error, parse_bytes(b.build(4)), "version 4 is not read");
    CHECK_ERROR(gguf_error, parse_bytes(b.build(0x03000000u)), "big-endian");
    CHECK_ERROR(gguf_error, parse(small().claim(huge, 1)), "tensor count");
    CHECK_ERROR(gguf_error, parse(small().claim(1, huge)), "metadata count");
    CHECK_ERROR(gguf_error, parse(small().claim(1000000, 7)), "tensor count");
    CHECK_ERROR(gguf_error, parse(small().claim(2, 9)), "GGUF:");  // the first tensor read as a pair
    CHECK_ERROR(gguf_error, parse(small().claim(3, 7)), "GGUF:");  // a tensor read from padding and data
}

void refuses_values() {
    const auto with = [](uint32_t type, const bytes &payload) { parse(gguf_builder().field("k", type, payload)); };
    CHECK_ERROR(gguf_error, with(13, bytes().put<uint64_t>(0)), "unknown value type 13");
    CHECK_ERROR(gguf_error, with(7, bytes().put<uint8_t>(2)), "must be 0 or 1");
    CHECK_ERROR(gguf_error, with(8, bytes().put<uint64_t>(huge).raw("text")), "needs 18446744073709551615 bytes");
    CHECK_ERROR(gguf_error, with(8, bytes().put<uint64_t>(100).raw("text without end")), "needs 100 bytes");
    CHECK_ERROR(gguf_error, with(9, bytes().put<uint32_t>(99).put<uint64_t>(1).put<uint64_t>(0)),
                "unknown value type 99");
    for (const uint32_t element : {0u, 1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 10u, 11u, 12u}) {
        for (const uint64_t count : {huge, huge / 8 + 1, huge / 12 + 1, uint64_t{1} << 61, uint64_t{1000}}) {
            CHECK_ERROR(gguf_error, with(9, bytes().put(element).put(count).put<uint64_t>(0)), "claims");
        }
    }
    CHECK_ERROR(gguf_error,
                with(9, bytes().put<uint32_t>(7).put<uint64_t>(3).put<uint8_t>(1).put<uint8_t>(0).put<uint8_t>(9)),
                "must be 0 or 1");
    bytes deep;
    for (int i = 0; i < 5000; ++i) deep.put<uint32_t>(9).put<uint64_t>(1);
    CHECK_ERROR(gguf_error, with(9, deep.put<uint32_t>(0).put<uint64_t>(0)), "deep");
    CHECK_ERROR(gguf_error, parse(gguf_builder().u32("", 1)), "length 0");
    CHECK_ERROR(gguf_error, parse(gguf_builder().u32(std::string(65536, 'k'), 1)), "length 65536");
    // Names are for whoever asks for them, and nobody asks for these; in a message they are escaped.
    for (const char *name : {"k\n", "k\xC3\xA9", "\xFF"})
        parse(gguf_builder().u32(name, 1).tensor("t", {8}, 0, 0).data(32));
    CHECK_ERROR(gguf_error, parse(gguf_builder().u32("k\xC3\n", 1).u32("k\xC3\n", 2)), "k\\xc3\\x0a\" occurs twice");
    // Sixteen arrays in one another are passed over, more are not.
    for (const int depth : {1, 4, 5, 16, 17}) {
        bytes nested;
        for (int i = 1; i < depth; ++i) nested.put<uint32_t>(9).put<uint64_t>(1);
        nested.put<uint32_t>(8).put<uint64_t>(1).string("x");
        if (depth <= 16) {
            with(9, nested);
        } else {
            CHECK_ERROR(gguf_error, with(9, nested), "nests arrays more than 16 deep");
        }
    }
    CHECK_ERROR(gguf_error, parse(gguf_builder().u32("k", 1).u32("k", 2)), "occurs twice");

    const std::vector<uint8_t> file = gguf_builder()
                                          .field("big", gguf_type::u64, bytes().put<uint64_t>(huge))
                                          .field("minus", gguf_type::i32, bytes().put<int32_t>(-1))
                                          .build();
    const gguf parsed(file.data(), file.size());
    CHECK_ERROR(gguf_error, parsed.require("big").as_unsigned(), "out of range");
    CHECK_ERROR(gguf_error, parsed.require("minus").as_unsigned(), "must not be negative");
    CHECK(parsed.require("minus").as_integer() == -1);
}

void refuses_tensors() {
    const auto with = [](const std::vector<uint64_t> &shape, uint32_t type, uint64_t offset) {
        parse(gguf_builder().tensor("t", shape, type, offset).data(4096));
    };
    with({32, 2, 2, 2}, 0, 0);
    CHECK_ERROR(gguf_error, with({}, 0, 0), "rank 0");
    CHECK_ERROR(gguf_error, with({1, 1, 1, 1, 1}, 0, 0), "rank 5");
    CHECK_ERROR(gguf_error, with({8, 0}, 0, 0), "equal to zero");
    CHECK_ERROR(gguf_error, with({huge}, 0, 0), "more elements");
    CHECK_ERROR(gguf_error, with({uint64_t{1} << 32, uint64_t{1} << 32}, 0, 0), "more elements");
    CHECK_ERROR(gguf_error, with({uint64_t{1} << 62, 2}, 0, 0), "more elements");
    CHECK_ERROR(gguf_error, with({uint64_t{1} << 62}, 0, 0), "overflows");
    CHECK_ERROR(gguf_error, with({uint64_t{1} << 61}, 0, 0), "needs 9223372036854775808 bytes");
    for (const uint32_t type : {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u}) {
        CHECK_ERROR(gguf_error, with({256}, type, 0), "tensor \"t\" has type number " + std::to_string(type) + " (");
        CHECK_ERROR(gguf_error, with({256}, type, 0), "removed from GGUF; quantise the model anew");
    }
    CHECK_ERROR(gguf_error, with({256}, 33, 0), "(Q4_0_8_8)");
    for (const uint32_t type : {42u, 77u, 0xFFFFFFFFu})
        CHECK_ERROR(gguf_error, with({256}, type, 0), "written by a newer GGUF tool");
    CHECK_ERROR(gguf_error, with({31}, 8, 0), "needs a multiple of 32");
    CHECK_ERROR(gguf_error, with({128}, 12, 0), "needs a multiple of 256");
    CHECK_ERROR(gguf_error, with({8}, 0, 16), "multiple of 32");
    CHECK_ERROR(gguf_error, with({8}, 0, huge - 31), "the data section has 4096");
    CHECK_ERROR(gguf_error, with({8}, 0, 4096), "the data section has 4096");
    CHECK_ERROR(gguf_error, with({1025}, 0, 0), "needs 4100 bytes");
    CHECK_ERROR(gguf_error, parse(gguf_builder().tensor("", {8}, 0, 0).data(64)), "name of 0 bytes");
    CHECK_ERROR(gguf_error, parse(gguf_builder().tensor(std::string(65, 't'), {8}, 0, 0).data(64)), "name of 65 bytes");
    CHECK_ERROR(gguf_error, parse(gguf_builder().tensor("t", {8}, 0, 0).tensor("t", {8}, 0, 32).data(64)),
                "occurs twice");
    CHECK_ERROR(gguf_error, parse(gguf_builder().tensor("a", {9}, 0, 0).tensor("b", {8}, 0, 32).data(64)), "overlap");
    CHECK_ERROR(gguf_error, parse(gguf_builder().tensor("b", {8}, 0, 32).tensor("a", {7}, 0, 32).data(64)), "overlap");
    // The same bytes for both: tied weights.
    parse(gguf_builder().tensor("b", {8}, 0, 32).tensor("a", {8}, 0, 32).data(64));
    CHECK_ERROR(gguf_error,
                parse(gguf_builder().tensor("a", {16}, 0, 0).tensor("b", {16}, 0, 0).tensor("c", {8}, 0, 32).data(64)),
                "overlap");
    CHECK_ERROR(gguf_error, parse(gguf_builder().tensor("a", {8}, 0, 0)), "the data section has 0");
}

void checks_alignment() {
    for (const uint32_t bad : {0u, 1u, 4u, 24u, 0x80000001u})
        CHECK_ERROR(gguf_error, parse(gguf_builder().u32("general.alignment", bad)), "power of two");
    CHECK_ERROR(gguf_error, parse(gguf_builder().string("general.alignment", "32")), "must be an integer");
    for (const gguf_type type : {gguf_type::u64, gguf_type::i64})
        parse(gguf_builder()
                  .field("general.alignment", type, bytes().put<uint64_t>(32))
                  .tensor("t", {8}, 0, 32)
                  .data(64));
    CHECK_ERROR(gguf_error,
                parse(gguf_builder().field("general.alignment", gguf_type::u64, bytes().put<uint64_t>(1ull << 40))),
                "to 2^31");
    CHECK_ERROR(gguf_error, parse(gguf_builder().u32("general.alignment", 0x80000000u).tensor("t", {8}, 0, 0).data(64)),
                "the data section has 0");
    const std::vector<uint8_t> file =
        gguf_builder().u32("general.alignment", 256).tensor("t", {8}, 0, 0).data(32).build(3, "GGUF", 256);
    const gguf parsed(file.data(), file.size());
    CHECK(parsed.data_offset() == 256 && parsed.tensors()[0].data == file.data() + 256);
    CHECK_ERROR(gguf_error, parse(gguf_builder().u32("general.alignment", 256).tensor("t", {8}, 0, 32).data(1024)),
                "multiple of 256");
}

// Writers choose other types than readers expect.
void reads_numbers_of_any_type() {
    const std::vector<uint8_t> file = gguf_builder()
                                          .field("u8", gguf_type::u8, bytes().put<uint8_t>(200))
                                          .field("i16", gguf_type::i16, bytes().put<int16_t>(200))
                                          .field("u64", gguf_type::u64, bytes().put<uint64_t>(200))
                                          .field("i64", gguf_type::i64, bytes().put<int64_t>(200))
                                          .field("f64", gguf_type::f64, bytes().put(200.0))
                                          .f32("f32", 200.0f)
                                          .f32("half", 0.5f)
                                          .f32("vast", 1e30f)
                                          .f32("none", __builtin_nanf(""))
                                          .i32s("same", {200, 200, 200})
                                          .i32s("other", {1, 2, 3, 4, 5, 6, 7})
                                          .i32s("empty", {})
                                          .strings("texts", {"a", "a"})
                                          .string("text", "200")
                                          .build();
    const gguf parsed(file.data(), file.size());
    for (const char *key : {"u8", "i16", "u64", "i64", "f64", "f32", "same"}) {
        const llm::gguf_value value = parsed.require(key).uniform();
        CHECK_MESSAGE(value.as_unsigned() == 200 && value.as_integer() == 200 && value.as_float() == 200.0, key);
    }
    CHECK(parsed.require("half").as_float() == 0.5 && parsed.require("vast").as_float() > 9e29);
    for (const char *key : {"half", "vast", "none"})
        CHECK_ERROR(gguf_error, parsed.require(key).as_unsigned(), "must be an integer");
    CHECK_ERROR(gguf_error, parsed.require("other").uniform(),
                "\"other\" is [1, 2, 3, 4, 5, 6, ...], values that differ");
    CHECK_ERROR(gguf_error, parsed.require("empty").uniform(), "empty array");
    CHECK_ERROR(gguf_error, parsed.require("texts").uniform(), "must be a number");
    CHECK_ERROR(gguf_error, parsed.require("text").uniform().as_float(), "must be a number");
    CHECK(parsed.require("other").numbers()->size() == 7 && !parsed.require("texts").numbers());
    CHECK(parsed.require("half").describe() == "0.5" && parsed.require("text").describe() == "\"200\"");
}

void joins_parts() {
    const std::vector<uint8_t> one = gguf_builder().tensor("a", {8}, 0, 0).data(32).build(),
                               two = gguf_builder().tensor("b", {8}, 0, 0).data(32).build();
    gguf first(one.data(), one.size());
    const gguf second(two.data(), two.size());
    first.add_tensors(second);
    CHECK(first.tensors().size() == 2 && first.find_tensor("b")->data == second.tensors()[0].data);
    CHECK_ERROR(gguf_error, first.add_tensors(second), "\"b\" occurs in two parts");
}

void knows_block_sizes() {
    struct {
        uint32_t id;
        const char *name;
        uint32_t elements, size;
    } const expected[] = {// Some that the library has, and some that it has not.
                          {0, "F32", 1, 4},    {12, "Q4_K", 256, 144}, {30, "BF16", 1, 2},     {39, "MXFP4", 32, 17},
                          {9, "Q8_1", 32, 40}, {15, "Q8_K", 256, 292}, {22, "IQ2_S", 256, 82}, {41, "Q1_0", 128, 18}};
    for (const auto &e : expected) {
        const llm::ggml_type *type = llm::find_ggml_type(e.id);
        CHECK(type != nullptr && std::string(type->name) == e.name && type->block_elements == e.elements &&
              type->block_bytes == e.size);
    }
    // Each that the library multiplies with is a weight, and nothing else is.
    size_t weights = 0;
    for (uint32_t id = 0; id < 0x200; ++id) {
        const llm::ggml_type *type = llm::find_ggml_type(id);
        const bool known = reflex_dtype_from_ggml(id) != REFLEX_DTYPE_NONE;
        CHECK(!known || type != nullptr);
        if (type == nullptr) continue;
        CHECK(type->is_weight() == (known && id != 26));
        weights += type->is_weight();
    }
    CHECK(weights >= 16 && llm::weight_type_names().find("Q4_K, ") != std::string::npos);
}

}  // namespace

int main() {
    reads_what_was_written();
    prints_nothing_but_text();
    refuses_every_truncation();
    refuses_headers();
    refuses_values();
    refuses_tensors();
    checks_alignment();
    reads_numbers_of_any_type();
    joins_parts();
    knows_block_sizes();
    return test::summary();
}
