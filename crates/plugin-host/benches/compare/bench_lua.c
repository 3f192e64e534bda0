/* The same function for Lua. */
#include <lauxlib.h>
#include <lua.h>
#include <math.h>

static int c_abs(lua_State *lua)
{
    lua_pushnumber(lua, fabs(luaL_checknumber(lua, 1)));
    return 1;
}

int luaopen_bench_lua(lua_State *lua)
{
    lua_pushcfunction(lua, c_abs);
    return 1;
}
