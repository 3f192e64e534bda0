-- Strings do not grow in place here: the lines are collected and joined, as users do.
return function()
	local lines = {}
	for i = 0, 499999 do
		local line = "X-Line-" .. i .. ": value " .. i .. "\r\n"
		lines[#lines + 1] = line
	end
	return #table.concat(lines)
end
