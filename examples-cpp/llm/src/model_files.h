// The file of a model, or the files of one that was split, mapped and read as one.
#pragma once

#include <string>
#include <vector>

#include "gguf.h"
#include "mapped_file.h"

namespace llm {

// A gguf_error whose message begins with the name of the file.
class model_error : public gguf_error {
public:
    model_error(const std::string &path, const std::string &what) : gguf_error(path + ": " + what) {}
};

// Calls `body`; a gguf_error that comes out of it names the file.
template <typename Body>
auto naming(const std::string &path, const Body &body) {
    try {
        return body();
    } catch (const model_error &) {
        throw;
    } catch (const gguf_error &error) {
        throw model_error(path, error.what());
    }
}

class model_files {
public:
    // `path` is the model, or the first part of a split one (NAME-00001-of-00003.gguf), whose others lie beside it. Throws
    // std::system_error for a file that cannot be mapped, and model_error for one that is no model, another part than the first, or a
    // part of another model.
    explicit model_files(const std::string &path);

    const std::string &path() const { return path_; }
    // Metadata of the first file, tensors of all.
    const gguf &contents() const { return parts_.front(); }
    const std::vector<mapped_file> &maps() const { return maps_; }

private:
    void add(const std::string &path);
    void add_parts();

    std::string path_;
    std::vector<mapped_file> maps_;
    std::vector<gguf> parts_;
};

// Throws gguf_error when the file holds something else than a model: an adapter, a projector, a vocabulary and so on.
void refuse_other_kinds(const gguf &file);

}  // namespace llm
