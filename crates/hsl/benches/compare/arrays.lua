return function()
	local list = {}
	for i = 0, 999999 do list[#list + 1] = i end
	local sum = 0
	for i = 1, 1000000, 2 do sum = sum + list[i] end
	for _, value in ipairs(list) do sum = sum + value end
	local map, count = {}, 0
	for i = 0, 99999 do map["key" .. i] = i end
	for i = 0, 99999 do
		local key = "key" .. i
		map[key] = map[key] + 1
	end
	for _ in pairs(map) do count = count + 1 end
	return sum + map["key99999"] + count
end
