local function add(a, b) return a + b end
local function pick(a, b) return b end
return function()
	local sum = 0
	for i = 0, 999999 do sum = add(sum, pick(sum, i)) end
	return sum
end
