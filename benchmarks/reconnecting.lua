-- sysbench's OLTP read-write load by clients that open a new connection when theirs ends, as
-- applications do. sysbench's own reconnect crashes when it is linked with MariaDB's client library,
-- as Debian's is (https://github.com/akopytov/sysbench/issues/527).

require("oltp_read_write")

-- The connection is gone (2006, 2013, 2055), refused (2002, 2003) or of no more use: the server shuts
-- down (1053), the session was ended (1927, 4031), the server takes no writes any more (1290, 1836).
local ENDED = {
   [1053] = true, [1290] = true, [1836] = true, [1927] = true, [2002] = true, [2003] = true,
   [2006] = true, [2013] = true, [2055] = true, [4031] = true,
}
local ATTEMPTS = 50

function sysbench.hooks.sql_error_ignorable(failure)
   return ENDED[failure.sql_errno]
end

function sysbench.hooks.before_restart_event(failure)
   if not ENDED[failure.sql_errno] then
      return -- a deadlock or the like: the same connection begins the transaction again
   end
   for attempt = 1, ATTEMPTS do
      local fine, connection = pcall(drv.connect, drv)
      if fine then
         con = connection
         prepare_statements()
         print(string.format("opened a new connection after error %d, attempt %d",
                             failure.sql_errno, attempt))
         return
      end
      os.execute("sleep 0.1")
   end
   error("no new connection in " .. ATTEMPTS .. " attempts")
end
