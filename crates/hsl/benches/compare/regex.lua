-- With the patterns of the language, which are simpler than regular expressions.
return function()
	local sum = 0
	for i = 0, 9999 do
		local line = "X-Header-" .. i .. ":  <user" .. i .. "@mail.example.com> text"
		local name, value = string.match(line, "^([A-Za-z0-9-]+):%s*(.*)$")
		sum = sum + #name + #value
		if string.find(line, "<[^@>]+@[a-z.]+>") then sum = sum + 1 end
	end
	return sum
end
