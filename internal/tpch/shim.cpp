// DuckDB's static library holds its TPC-H generator, which nothing registers. This registers it
// in one database. The layout of a duckdb_database and the names are those of DuckDB 1.5.5.
#include <string>

namespace duckdb {
class DatabaseInstance;
class ExtensionLoader {
public:
	ExtensionLoader(DatabaseInstance &, const std::string &);
	void FinalizeLoad();
	char room[2048];
};
} // namespace duckdb

extern "C" void tpch_duckdb_cpp_init(duckdb::ExtensionLoader &);

extern "C" void strongroom_load_tpch(void *database) {
	void **duck = (void **)((void **)database)[0];
	duckdb::ExtensionLoader loader(*(duckdb::DatabaseInstance *)duck[0], "tpch");
	tpch_duckdb_cpp_init(loader);
	loader.FinalizeLoad();
}
