<?php
function work() {
	$sum = 0;
	for ($i = 0; $i < 1000; $i += 1) {
		for ($j = 0; $j < 3000; $j += 1) {
			if ($j % 3 == 0) $sum += $i;
			else $sum -= 1;
		}
	}
	return $sum;
}
